import type { Libc } from './libc.ts';
import { systemError } from './system-error.ts';

/**
 * Has the kernel write no memory of this process to disk when it crashes, nor of the processes that it starts from then on. Only the soft
 * limit is lowered: whoever needs a dump raises it again (`prlimit --core=unlimited --pid PID`).
 *
 * @throws the system's error
 */
export function forbidCoreDumps(libc: Libc): void {
  const limits = libc.allocate(LIMITS_BYTES);
  if (libc.getrlimit(RLIMIT_CORE, limits.address) === -1) throw systemError(libc.errno(), 'getrlimit');
  limits.bytes.fill(0, 0, LIMITS_BYTES / 2);
  if (libc.setrlimit(RLIMIT_CORE, limits.address) === -1) throw systemError(libc.errno(), 'setrlimit');
}

/** `struct rlimit`: the soft limit, then the hard one, of 64 bits each. */
const LIMITS_BYTES = 16;
/** The same on all processors that `abiOf` knows. */
const RLIMIT_CORE = 4;
