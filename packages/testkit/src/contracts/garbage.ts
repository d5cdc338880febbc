import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** What `node --expose-gc` gives, without having to be started so. */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
}
