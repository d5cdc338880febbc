import { isIPv6 } from 'node:net';
import { formatEndpoint, unixPath } from '@meshgate/core';
import type { Endpoint, ListenOptions } from '@meshgate/core';
import {
  AF_INET,
  AF_INET6,
  AF_UNIX,
  F_SETFL,
  IPPROTO_IPV6,
  IPV6_V6ONLY,
  O_NONBLOCK,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOL_SOCKET,
} from './abi.ts';
import type { Libc } from './libc.ts';
import { encodeAddress } from './socket-address.ts';
import type { SocketAddress } from './socket-address.ts';
import type { Sockets } from './sockets.ts';
import { EMFILE, ENFILE, ENOBUFS, ENOMEM, systemError } from './system-error.ts';

interface Calls {
  readonly libc: Libc;
  readonly sockets: Sockets;
}

/** A listening socket. */
export interface ListeningSocket {
  /** File descriptor, owned by the caller. */
  readonly fd: number;
  /** `AF_INET`, `AF_INET6` or `AF_UNIX`. */
  readonly family: number;
  /** The bound address: with the port that the system selected if 0 was requested. */
  readonly address: Endpoint;
}

/**
 * Binds and listens as specified by `Transport.listen` of core, or adopts an inherited socket.
 *
 * @throws the system's error if it cannot bind; TypeError if `at` is not an address
 */
export function listeningSocket(calls: Calls, at: Endpoint, options: ListenOptions): ListeningSocket {
  if (options.socket !== undefined) return inherited(calls, at, { ...options, socket: options.socket });
  const address = encodeAddress(at);
  if (typeof address === 'string') throw invalidAddress(at, address);
  const fd = bind(calls, address, at, options);
  const bound = unixPath(at) === undefined ? (calls.sockets.localAddress(fd) ?? at) : at;
  return { fd, family: address.family, address: bound };
}

/** An address whose interface is missing is reported as the system reports one that is not local. */
function invalidAddress(at: Endpoint, reason: string): Error {
  const message = `listen ${formatEndpoint(at)}: ${reason}`;
  if (!at.host.includes('%')) return new TypeError(message);
  return Object.assign(new Error(message), { code: 'ENODEV', syscall: 'listen', address: at.host, port: at.port });
}

/** Sets the options of an inherited socket that connections inherit: its creator may have used others. */
function inherited(
  { libc, sockets }: Calls,
  at: Endpoint,
  options: ListenOptions & { readonly socket: number },
): ListeningSocket {
  const { socket: fd, backlog } = options;
  const refuse = (syscall: string): never => {
    throw systemError(libc.errno(), syscall, `inherited descriptor ${fd} for ${formatEndpoint(at)}`);
  };
  // A service manager passes it in blocking mode.
  if (libc.fcntl(fd, F_SETFL, O_NONBLOCK) === -1) refuse('fcntl');
  if (libc.listen(fd, backlog) === -1) refuse('listen');
  const address = sockets.localAddress(fd);
  if (address === undefined || unixPath(at) !== undefined) return { fd, family: AF_UNIX, address: at };
  prepareTcp(sockets, fd, options);
  return { fd, family: isIPv6(address.host) ? AF_INET6 : AF_INET, address };
}

/**
 * @returns the listening descriptor
 */
function bind({ libc, sockets }: Calls, address: SocketAddress, at: Endpoint, options: ListenOptions): number {
  const fd = libc.socket(address.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd === -1) throw systemError(libc.errno(), 'socket');
  const refuse = (syscall: string): never => {
    // In the form of Node's own listen errors, which contain the address.
    const error = Object.assign(systemError(libc.errno(), syscall, formatEndpoint(at)), {
      address: at.host,
      port: at.port,
    });
    libc.close(fd);
    throw error;
  };
  if (address.family !== AF_UNIX) prepareTcp(sockets, fd, options);
  // `::` accepts both families, whatever `/proc/sys/net/ipv6/bindv6only` is.
  if (address.family === AF_INET6) sockets.setOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  if (options.reusePort === true && sockets.setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1) === -1) refuse('setsockopt');
  if (sockets.bind(fd, address) === -1) refuse('bind');
  if (libc.listen(fd, options.backlog) === -1) refuse('listen');
  return fd;
}

/** Sets options that accepted connections inherit on Linux (accept(2), notes), so that they need not be set on each. */
function prepareTcp(sockets: Sockets, fd: number, { keepAlive }: ListenOptions): void {
  sockets.setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  sockets.setNoDelay(fd);
  sockets.setKeepAlive(fd, keepAlive);
}

/** Errors of accept(2) that an immediate retry does not resolve. */
export const OUT_OF_RESOURCES: ReadonlySet<number> = new Set([EMFILE, ENFILE, ENOBUFS, ENOMEM]);
