// For transports on Linux interfaces. Not stable: it may change in any minor version.
export {
  MSG_DONTWAIT,
  IO_URING_ENTER,
  IO_URING_REGISTER,
  IO_URING_SETUP,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  EPOLL_CLOEXEC,
  EPOLLIN,
  EPOLLPRI,
  EPOLLOUT,
  EPOLLERR,
  EPOLLHUP,
  EPOLLRDHUP,
  EPOLLET,
  AF_UNIX,
  AF_INET,
  AF_INET6,
  SOCK_STREAM,
  SOCK_NONBLOCK,
  SOCK_CLOEXEC,
  SHUT_WR,
  MSG_NOSIGNAL,
  SOL_SOCKET,
  SO_REUSEADDR,
  SO_ERROR,
  SO_KEEPALIVE,
  SO_LINGER,
  SO_REUSEPORT,
  IPPROTO_TCP,
  TCP_NODELAY,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_KEEPCNT,
  TCP_QUICKACK,
  TCP_USER_TIMEOUT,
  IPPROTO_IPV6,
  IPV6_V6ONLY,
  O_NONBLOCK,
  O_CLOEXEC,
  F_SETPIPE_SZ,
  SPLICE_F_MOVE,
  SPLICE_F_NONBLOCK,
  abiOf,
} from './abi.ts';
export type { Abi } from './abi.ts';
export { appendAlways } from './append-mode.ts';
export { listenBy } from './accepting.ts';
export type { Accepting, Acceptor, AcceptWatch, AcceptOutcome } from './accepting.ts';
export { BULK_DEFAULTS } from './bulk.ts';
export type { BulkOptions, SpliceMode } from './bulk.ts';
export { forbidCoreDumps } from './core-dumps.ts';
export { datagramSender } from './datagrams.ts';
export type { DatagramSender } from './datagrams.ts';
export { dialBy } from './dialling.ts';
export type { SocketFactory } from './dialling.ts';
export { Handshakes } from './handshakes.ts';
export { loadLibc } from './libc.ts';
export type { Libc, MappedMemory } from './libc.ts';
export { allocate } from './memory.ts';
export type { Memory } from './memory.ts';
export { openedLater } from './opened-later.ts';
export type { OpenedTransport } from './opened-later.ts';
export { SMALL, BULK, NEVER_BULK, paceAfter } from './pace.ts';
export type { KernelPace } from './pace.ts';
export { PipePool } from './pipe-pool.ts';
export type { Pipe } from './pipe-pool.ts';
export { testTransport } from './self-test.ts';
export type { SelfTest } from './self-test.ts';
export { SOCKET_ADDRESS_BYTES, encodeAddress, decodeAddress } from './socket-address.ts';
export type { SocketAddress } from './socket-address.ts';
export { SocketConnection } from './socket-connection.ts';
export { SocketSplice } from './socket-splice.ts';
export type { Direction, DirectionOwner } from './socket-splice.ts';
export { Sockets } from './sockets.ts';
export { KEEP_ALIVE_AFTER_MS, NO_OWNER } from './stream-socket.ts';
export type { SocketOwner, StreamSocket } from './stream-socket.ts';
export {
  EAGAIN,
  ECONNRESET,
  EINPROGRESS,
  EINVAL,
  EMFILE,
  ENFILE,
  ENOBUFS,
  ENOMEM,
  systemError,
  errorName,
} from './system-error.ts';
export type { Task } from './tasks.ts';
export { TurnLoop } from './turn-loop.ts';
export type { TurnWork } from './turn-loop.ts';
export { TimerWheel, TICK_MS } from './timer-wheel.ts';
