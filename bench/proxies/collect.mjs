// Preloaded (`--import`) into a proxy on Node whose memory is measured: on SIGURG it collects its garbage, and reports
// it.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');

process.on('SIGURG', () => {
  // The second collection frees what finalizers have released.
  collect();
  setImmediate(() => {
    collect();
    process.stderr.write('garbage collected\n');
  });
});
