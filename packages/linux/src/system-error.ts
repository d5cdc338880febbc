import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';

const { errno: NUMBERS } = constants;

/** Errors of errno(3) on which something depends, by their numbers on this system. */
export const EAGAIN: number = NUMBERS.EAGAIN;
/** The peer has reset the connection. */
export const ECONNRESET: number = NUMBERS.ECONNRESET;
/** Connecting goes on. */
export const EINPROGRESS: number = NUMBERS.EINPROGRESS;
/** The call makes no sense for this descriptor. */
export const EINVAL: number = NUMBERS.EINVAL;
/** No descriptor left in this process. */
export const EMFILE: number = NUMBERS.EMFILE;
/** No descriptor left on this machine. */
export const ENFILE: number = NUMBERS.ENFILE;
/** No memory left for sockets. */
export const ENOBUFS: number = NUMBERS.ENOBUFS;
/** No memory left. */
export const ENOMEM: number = NUMBERS.ENOMEM;

/** An `Error` of the shape that Node's own have: `code` is the name, `errno` its negative number. */
export function systemError(errno: number, syscall: string, detail?: string): NodeJS.ErrnoException {
  const code = errorName(errno);
  const error: NodeJS.ErrnoException = new Error(`${syscall}${detail === undefined ? '' : ` ${detail}`}: ${code}`);
  error.code = code;
  error.errno = -errno;
  error.syscall = syscall;
  return error;
}

/** `ECONNRESET` for 104. */
export function errorName(errno: number): string {
  return getSystemErrorName(-errno);
}
