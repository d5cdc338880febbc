/**
 * Constants and layouts of the Linux ABI, from the kernel's headers. They are the same in glibc and musl, and on x64
 * and arm64, except where {@link abiOf} differs.
 */

/** epoll_ctl(2) and epoll_create1(2), `sys/epoll.h`. */
export const EPOLL_CTL_ADD = 1;
/** Stop watching. */
export const EPOLL_CTL_DEL = 2;
/** Change the watched events. */
export const EPOLL_CTL_MOD = 3;
/** Closed by execve(2). */
export const EPOLL_CLOEXEC = 0o2000000;
/** Readable, or at the end. */
export const EPOLLIN = 0x001;
/** Urgent data. */
export const EPOLLPRI = 0x002;
/** Writable. */
export const EPOLLOUT = 0x004;
/** Stops watching. */
export const EPOLLERR = 0x008;
/** Changes the watched events. */
export const EPOLLHUP = 0x010;
/** The peer has finished sending. */
export const EPOLLRDHUP = 0x2000;
/** Bit 31, as the signed 32-bit number that JavaScript's bit operators produce. */
export const EPOLLET: number = 1 << 31;

/** fcntl(2): get file status flags. */
export const F_GETFL = 3;
/** fcntl(2): set file status flags. */
export const F_SETFL = 4;

/** socket(2), `sys/socket.h`. */
export const AF_UNIX = 1;
/** IPv4. */
export const AF_INET = 2;
/** IPv6. */
export const AF_INET6 = 10;
/** A byte stream. */
export const SOCK_STREAM = 1;
/** Calls fail with `EAGAIN` instead of blocking. */
export const SOCK_NONBLOCK = 0o4000;
/** Closed by execve(2). */
export const SOCK_CLOEXEC = 0o2000000;
/** The sending direction. */
export const SHUT_WR = 1;
/** `EPIPE` without a signal. */
export const MSG_NOSIGNAL = 0x4000;

/** socket(7). */
export const SOL_SOCKET = 1;
/** Bind despite connections of an earlier listener in TIME-WAIT. */
export const SO_REUSEADDR = 2;
/** The pending error; reading it clears it. */
export const SO_ERROR = 4;
/** Probe idle peers. */
export const SO_KEEPALIVE = 9;
/** What close(2) does with unsent data. */
export const SO_LINGER = 13;
/** Several sockets on one port. */
export const SO_REUSEPORT = 15;

/** tcp(7), `linux/tcp.h`. */
export const IPPROTO_TCP = 6;
/** Send at once, even with unacknowledged data. */
export const TCP_NODELAY = 1;
/** Idle seconds before the first probe. */
export const TCP_KEEPIDLE = 4;
/** Seconds between probes. */
export const TCP_KEEPINTVL = 5;
/** Unanswered probes. */
export const TCP_KEEPCNT = 6;
/** Whether to acknowledge at once. */
export const TCP_QUICKACK = 12;
/** State of a connection: `struct tcp_info`. */
export const TCP_INFO = 11;
/** Maximum time, in milliseconds, that sent bytes may stay unacknowledged. */
export const TCP_USER_TIMEOUT = 18;

/** ipv6(7). */
export const IPPROTO_IPV6 = 41;
/** IPv6 only. */
export const IPV6_V6ONLY = 26;

/** pipe(2), fcntl(2), splice(2). */
export const O_NONBLOCK = 0o4000;
/** Closed by execve(2). */
export const O_CLOEXEC = 0o2000000;
/** Sets the capacity of a pipe. */
export const F_SETPIPE_SZ = 1031;
/** Move pages where possible. */
export const SPLICE_F_MOVE = 1;
/** Never block on the pipe. */
export const SPLICE_F_NONBLOCK = 2;

/** mmap(2): protection and flags. */
export const PROT_READ = 1;
/** Pages can be written. */
export const PROT_WRITE = 2;
/** Changes are visible to the other side. */
export const MAP_SHARED = 1;
/** Changes are private. */
export const MAP_PRIVATE = 2;
/** Anonymous memory. */
export const MAP_ANONYMOUS = 0x20;
/** Populate page tables at once. */
export const MAP_POPULATE = 0x8000;

/** System call numbers of io_uring(7), the same on all supported processors. */
export const IO_URING_SETUP = 425;
/** io_uring_enter(2). */
export const IO_URING_ENTER = 426;
/** io_uring_register(2). */
export const IO_URING_REGISTER = 427;

/** `MSG_DONTWAIT` of send(2): `EAGAIN` instead of blocking, whatever the mode of the descriptor. */
export const MSG_DONTWAIT = 0x40;

/** Differences between the supported processors. */
export interface Abi {
  /**
   * `struct epoll_event` in 32-bit words: its length and the offset of `data`. Packed on x86 only, for compatibility
   * between 32-bit and 64-bit programs (`EPOLL_PACKED` in `linux/eventpoll.h`); aligned to 8 bytes everywhere else.
   */
  readonly epollEvent: { readonly words: number; readonly dataWord: number };
}

const ABIS: Readonly<Record<string, Abi>> = {
  x64: { epollEvent: { words: 3, dataWord: 1 } },
  arm64: { epollEvent: { words: 4, dataWord: 2 } },
};

/** Returns the ABI, or `undefined` for an unsupported platform or processor. */
export function abiOf(platform: string, arch: string): Abi | undefined {
  return platform === 'linux' ? ABIS[arch] : undefined;
}
