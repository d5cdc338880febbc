/**
 * Numbers and layouts of Linux's binary interface, as its own headers define them. They are the same in glibc and musl, and
 * the same on x64 and arm64 except where {@link abiOf} says otherwise.
 */

/** epoll_ctl(2) and epoll_create1(2), `sys/epoll.h`. */
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_MOD = 3;
export const EPOLL_CLOEXEC = 0o2000000;
export const EPOLLIN = 0x001;
export const EPOLLPRI = 0x002;
export const EPOLLOUT = 0x004;
export const EPOLLERR = 0x008;
export const EPOLLHUP = 0x010;
export const EPOLLRDHUP = 0x2000;
/** Bit 31: as a signed 32-bit number, since that is what JavaScript's bit operators make. */
export const EPOLLET: number = 1 << 31;

/** socket(2), `sys/socket.h`. */
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOCK_STREAM = 1;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const SHUT_WR = 1;
export const MSG_NOSIGNAL = 0x4000;

/** socket(7). */
export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_ERROR = 4;
export const SO_KEEPALIVE = 9;
export const SO_LINGER = 13;
export const SO_REUSEPORT = 15;

/** tcp(7), `linux/tcp.h`. */
export const IPPROTO_TCP = 6;
export const TCP_NODELAY = 1;
export const TCP_KEEPIDLE = 4;
export const TCP_KEEPINTVL = 5;
export const TCP_KEEPCNT = 6;
export const TCP_QUICKACK = 12;
export const TCP_USER_TIMEOUT = 18;

/** ipv6(7). */
export const IPPROTO_IPV6 = 41;
export const IPV6_V6ONLY = 26;

/** pipe(2), fcntl(2), splice(2). */
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;
export const F_SETPIPE_SZ = 1031;
export const SPLICE_F_MOVE = 1;
export const SPLICE_F_NONBLOCK = 2;

/** What differs between the processors that we know. */
export interface Abi {
  /**
   * `struct epoll_event` in 32-bit words: its length and where `data` begins. Packed on x86 only, so that 32-bit and 64-bit
   * programs agree there (`EPOLL_PACKED` in `linux/eventpoll.h`); aligned to 8 bytes everywhere else.
   */
  readonly epollEvent: { readonly words: number; readonly dataWord: number };
}

const ABIS: Readonly<Record<string, Abi>> = {
  x64: { epollEvent: { words: 3, dataWord: 1 } },
  arm64: { epollEvent: { words: 4, dataWord: 2 } },
};

/** `undefined` for a platform or processor whose layouts are not known here. */
export function abiOf(platform: string, arch: string): Abi | undefined {
  return platform === 'linux' ? ABIS[arch] : undefined;
}
