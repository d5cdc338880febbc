import { constants } from 'node:fs';
import { F_GETFL, F_SETFL } from './abi.ts';
import type { Libc } from './libc.ts';
import { systemError } from './system-error.ts';

/**
 * Makes every write to the open file behind `fd` append, also those of other descriptors and processes that share it
 * (open(2), `O_APPEND`).
 *
 * @throws the system's error
 */
export function appendAlways(libc: Libc, fd: number): void {
  const flags = libc.fcntl(fd, F_GETFL, 0);
  if (flags === -1 || libc.fcntl(fd, F_SETFL, flags | constants.O_APPEND) === -1)
    throw systemError(libc.errno(), 'fcntl');
}
