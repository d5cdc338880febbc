import type { Libc } from './libc.ts';
import { systemError } from './system-error.ts';

/**
 * Disables core dumps of this process and of the processes that it starts from then on, so that the kernel writes none
 * of their memory to disk after a crash. Only the soft limit is lowered; `prlimit --core=unlimited --pid PID` raises it
 * again.
 *
 * @throws the system's error
 */
export function forbidCoreDumps(libc: Libc): void {
  const limits = libc.allocate(LIMITS_BYTES);
  if (libc.getrlimit(RLIMIT_CORE, limits.address) === -1) throw systemError(libc.errno(), 'getrlimit');
  limits.bytes.fill(0, 0, LIMITS_BYTES / 2);
  if (libc.setrlimit(RLIMIT_CORE, limits.address) === -1) throw systemError(libc.errno(), 'setrlimit');
}

/** `struct rlimit`: the soft limit, then the hard one, 64 bits each. */
const LIMITS_BYTES = 16;
/** The same on all processors that `abiOf` supports. */
const RLIMIT_CORE = 4;
