// Loaded before a proxy on Node (`--import`) whose memory is to be read: SIGURG makes it collect its garbage, and say so.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');

process.on('SIGURG', () => {
  // What finalizers let go goes with the second.
  collect();
  setImmediate(() => {
    collect();
    process.stderr.write('garbage collected\n');
  });
});
