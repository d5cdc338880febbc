import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';

const { errno: NUMBERS } = constants;

/** errno(3) values, with the numbers of this system. */
export const EAGAIN: number = NUMBERS.EAGAIN;
/** The peer has reset the connection. */
export const ECONNRESET: number = NUMBERS.ECONNRESET;
/** Connecting is in progress. */
export const EINPROGRESS: number = NUMBERS.EINPROGRESS;
/** The call is invalid for this descriptor. */
export const EINVAL: number = NUMBERS.EINVAL;
/** No descriptors left in this process. */
export const EMFILE: number = NUMBERS.EMFILE;
/** No descriptors left on this machine. */
export const ENFILE: number = NUMBERS.ENFILE;
/** No memory left for sockets. */
export const ENOBUFS: number = NUMBERS.ENOBUFS;
/** No memory left. */
export const ENOMEM: number = NUMBERS.ENOMEM;

/** Creates an `Error` in the form of Node's: `code` is the name, `errno` the negative number. */
export function systemError(errno: number, syscall: string, detail?: string): NodeJS.ErrnoException {
  const code = errorName(errno);
  const error: NodeJS.ErrnoException = new Error(`${syscall}${detail === undefined ? '' : ` ${detail}`}: ${code}`);
  error.code = code;
  error.errno = -errno;
  error.syscall = syscall;
  return error;
}

/** Returns the name of an errno: `ECONNRESET` for 104. */
export function errorName(errno: number): string {
  return getSystemErrorName(-errno);
}
