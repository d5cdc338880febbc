import { AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOL_SOCKET } from './abi.ts';
import type { Libc } from './libc.ts';
import type { Memory } from './memory.ts';
import { encodeAddress } from './socket-address.ts';
import { Sockets } from './sockets.ts';
import { systemError } from './system-error.ts';

/** Sends datagrams to a unix socket, which Node cannot. Each is sent completely or not at all, without blocking. */
export interface DatagramSender {
  /**
   * Sends one datagram.
   *
   * @throws the system's error, for example if there is no receiver
   */
  send(text: string): void;
  /**
   * Sends one datagram with a file descriptor, which is duplicated for the receiver (unix(7), `SCM_RIGHTS`).
   *
   * @throws the system's error
   */
  sendDescriptor(text: string, descriptor: number): void;
  /** Closes the socket. */
  close(): void;
}

/**
 * Opens a sender.
 *
 * @param path path of the socket; a name that begins with `@` is in the abstract namespace (unix(7))
 * @throws the system's error if there is no such socket
 */
export function datagramSender(libc: Libc, path: string): DatagramSender {
  const address = encodeAddress({ host: `unix:${path.replace(/^@/, '\0')}`, port: 0 });
  if (typeof address === 'string') throw new TypeError(address);
  // An abstract name ends with the address length, a path with a NUL byte.
  const bytes = path.startsWith('@') ? address.bytes.subarray(0, -1) : address.bytes;
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd === -1) throw systemError(libc.errno(), 'socket');
  if (new Sockets(libc).connect(fd, { ...address, bytes }) === -1) {
    const error = systemError(libc.errno(), 'connect', path);
    libc.close(fd);
    throw error;
  }
  return { send, sendDescriptor, close: () => void libc.close(fd) };

  function send(text: string): void {
    const encoded = new TextEncoder().encode(text);
    const memory = libc.allocate(encoded.length);
    memory.bytes.set(encoded);
    if (libc.send(fd, memory.address, encoded.length, 0) === -1) throw systemError(libc.errno(), 'send', path);
  }

  function sendDescriptor(text: string, descriptor: number): void {
    const encoded = new TextEncoder().encode(text);
    const data = libc.allocate(encoded.length);
    const iovec = libc.allocate(16);
    const control = libc.allocate(CONTROL_BYTES);
    const message = libc.allocate(56);
    data.bytes.set(encoded);
    words(iovec, [data.address, encoded.length]);
    words(control, [CONTROL_BYTES - 4]);
    control.ints.set([SOL_SOCKET, SCM_RIGHTS, descriptor], 2);
    words(message, [0, 0, iovec.address, 1, control.address, CONTROL_BYTES, 0]);
    if (libc.sendmsg(fd, message.address, 0) === -1) throw systemError(libc.errno(), 'sendmsg', path);
  }
}

/** A `cmsghdr` of 16 bytes and one descriptor, padded to a whole word (cmsg(3)). */
const CONTROL_BYTES = 24;
/** unix(7). */
const SCM_RIGHTS = 1;

/** Stores 64-bit words: the members of `iovec` and `msghdr` on all systems that `abiOf` supports. */
function words(memory: Memory, values: readonly number[]): void {
  const view = new DataView(memory.bytes.buffer);
  for (const [index, value] of values.entries()) view.setBigUint64(index * 8, BigInt(value), true);
}

/** socket(2). */
const SOCK_DGRAM = 2;
