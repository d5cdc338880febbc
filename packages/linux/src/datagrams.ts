import { AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK } from './abi.ts';
import type { Libc } from './libc.ts';
import { encodeAddress } from './socket-address.ts';
import { Sockets } from './sockets.ts';
import { systemError } from './system-error.ts';

/** Sends datagrams to one unix socket, which Node cannot. Each is sent whole or not at all, and nobody waits for it. */
export interface DatagramSender {
  /**
   * One datagram.
   *
   * @throws the system's error, when nobody receives for example
   */
  send(text: string): void;
  /** Gives the socket back. */
  close(): void;
}

/**
 * @param path of the socket; one that begins with `@` is in the abstract namespace (unix(7))
 * @throws the system's error when there is no such socket
 */
export function datagramSender(libc: Libc, path: string): DatagramSender {
  const address = encodeAddress({ host: `unix:${path.replace(/^@/, '\0')}`, port: 0 });
  if (typeof address === 'string') throw new TypeError(address);
  // An abstract name ends where the address does, a path with a byte of its own.
  const bytes = path.startsWith('@') ? address.bytes.subarray(0, -1) : address.bytes;
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd === -1) throw systemError(libc.errno(), 'socket');
  if (new Sockets(libc).connect(fd, { ...address, bytes }) === -1) {
    const error = systemError(libc.errno(), 'connect', path);
    libc.close(fd);
    throw error;
  }
  return { send, close: () => void libc.close(fd) };

  function send(text: string): void {
    const encoded = new TextEncoder().encode(text);
    const memory = libc.allocate(encoded.length);
    memory.bytes.set(encoded);
    if (libc.send(fd, memory.address, encoded.length, 0) === -1) throw systemError(libc.errno(), 'send', path);
  }
}

/** socket(2). */
const SOCK_DGRAM = 2;
