import type { Endpoint, KeepAlive } from '@meshgate/core';
import {
  IPPROTO_TCP,
  SO_KEEPALIVE,
  SO_LINGER,
  SOL_SOCKET,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_NODELAY,
  TCP_QUICKACK,
  TCP_USER_TIMEOUT,
} from './abi.ts';
import type { Libc } from './libc.ts';
import type { Memory } from './memory.ts';
import { decodeAddress, SOCKET_ADDRESS_BYTES } from './socket-address.ts';
import type { SocketAddress } from './socket-address.ts';
import { TcpStates } from './tcp-state.ts';
import type { TcpState } from './tcp-state.ts';

/** Socket system calls that take structures as arguments, with the memory for these. */
export class Sockets {
  readonly #libc: Libc;
  readonly #address: Memory;
  readonly #addressLength: Memory;
  readonly #option: Memory;
  readonly #optionLength: Memory;
  #tcpStates: TcpStates | undefined;

  constructor(libc: Libc) {
    this.#libc = libc;
    this.#address = libc.allocate(SOCKET_ADDRESS_BYTES);
    this.#addressLength = libc.allocate(4);
    this.#option = libc.allocate(8);
    this.#optionLength = libc.allocate(4);
  }

  /** accept4(2). Sets {@link lastAddress} to the peer. */
  accept(listener: number, flags: number): number {
    this.#addressLength.ints[0] = SOCKET_ADDRESS_BYTES;
    return this.#libc.accept4(listener, this.#address.address, this.#addressLength.address, flags);
  }

  /** The peer address of the last {@link accept}. */
  lastAddress(): Endpoint | undefined {
    return decodeAddress(this.#address.bytes, this.#addressLength.ints[0] ?? 0);
  }

  /** getpeername(2). Returns `undefined` if the peer has disconnected or has no address. */
  peerAddress(fd: number): Endpoint | undefined {
    this.#addressLength.ints[0] = SOCKET_ADDRESS_BYTES;
    const result = this.#libc.getpeername(fd, this.#address.address, this.#addressLength.address);
    return result === -1 ? undefined : this.lastAddress();
  }

  /** getsockname(2). Returns `undefined` if the socket has no address. */
  localAddress(fd: number): Endpoint | undefined {
    this.#addressLength.ints[0] = SOCKET_ADDRESS_BYTES;
    const result = this.#libc.getsockname(fd, this.#address.address, this.#addressLength.address);
    return result === -1 ? undefined : this.lastAddress();
  }

  /** bind(2). */
  bind(fd: number, { bytes }: SocketAddress): number {
    this.#address.bytes.set(bytes);
    return this.#libc.bind(fd, this.#address.address, bytes.length);
  }

  /** connect(2). */
  connect(fd: number, { bytes }: SocketAddress): number {
    this.#address.bytes.set(bytes);
    return this.#libc.connect(fd, this.#address.address, bytes.length);
  }

  /** getsockopt(2) for an option of type `int`. */
  getOption(fd: number, level: number, option: number): number {
    this.#optionLength.ints[0] = 4;
    const { address, ints } = this.#option;
    return this.#libc.getsockopt(fd, level, option, address, this.#optionLength.address) === -1
      ? this.#libc.errno()
      : (ints[0] ?? 0);
  }

  /** Returns the kernel's state of a TCP connection. */
  tcpState(fd: number): TcpState | undefined {
    this.#tcpStates ??= new TcpStates(this.#libc);
    return this.#tcpStates.of(fd);
  }

  /** setsockopt(2) for an option of type `int`. */
  setOption(fd: number, level: number, option: number, value: number): number {
    this.#option.ints[0] = value;
    return this.#libc.setsockopt(fd, level, option, this.#option.address, 4);
  }

  /** Makes close(2) drop unsent data and reset the connection: socket(7), `SO_LINGER` with zero time. */
  dropUnsent(fd: number): void {
    this.#option.ints[0] = 1;
    this.#option.ints[1] = 0;
    this.#libc.setsockopt(fd, SOL_SOCKET, SO_LINGER, this.#option.address, 8);
  }

  /** Disables Nagle's algorithm: small messages are sent at once, even with unacknowledged data. */
  setNoDelay(fd: number): void {
    this.setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  }

  /** 1: acknowledge at once, including data already received; 0: wait for data to carry it (tcp(7), `TCP_QUICKACK`). */
  setQuickAck(fd: number, value: 0 | 1): void {
    this.setOption(fd, IPPROTO_TCP, TCP_QUICKACK, value);
  }

  /** Sets the keepalive probes and the timeout of unacknowledged data: tcp(7). */
  setKeepAlive(fd: number, keepAlive: KeepAlive): void {
    const { idleMs, intervalMs, probes } = keepAlive;
    this.setOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    this.setOption(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, userTimeoutMs(keepAlive));
    this.setOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds(idleMs));
    if (intervalMs !== undefined) this.setOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds(intervalMs));
    if (probes !== undefined) this.setOption(fd, IPPROTO_TCP, TCP_KEEPCNT, probes);
  }
}

/** Returns the user timeout, which replaces the number of probes at the end of keepalive: both must agree. */
function userTimeoutMs({ idleMs, intervalMs, probes, userTimeoutMs: configured }: KeepAlive): number {
  const probedMs = idleMs + (intervalMs ?? DEFAULT_INTERVAL_MS) * (probes ?? DEFAULT_PROBES);
  return Math.min(LONGEST_USER_TIMEOUT_MS, Math.ceil(configured ?? probedMs));
}

/** Defaults of `/proc/sys/net/ipv4/tcp_keepalive_intvl` and `tcp_keepalive_probes`: tcp(7). */
const DEFAULT_INTERVAL_MS = 75_000;
const DEFAULT_PROBES = 9;

/** The option is an `int`, and a negative one is refused. */
const LONGEST_USER_TIMEOUT_MS = 2 ** 31 - 1;

// `MAX_TCP_KEEPIDLE` and `MAX_TCP_KEEPINTVL` of the kernel: setsockopt(2) fails beyond them.
const LONGEST_SECONDS = 32_767;

function seconds(ms: number): number {
  return Math.min(LONGEST_SECONDS, Math.max(1, Math.ceil(ms / 1000)));
}
