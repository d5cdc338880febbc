import type { Endpoint } from './endpoint.ts';
import type { ProxyError } from '../errors.ts';
import type { KeepAlive } from '../routes/route.ts';

/**
 * A byte stream, owned by exactly one stage at a time: its owner reads it, and destroys it or hands it on. Only one
 * `read` and one `write` at a time.
 */
export interface Connection {
  /** Address of the peer. */
  readonly remote: Endpoint;
  /** Address of this side. */
  readonly local: Endpoint;
  /**
   * Called once if the peer resets while no read or write is pending; set by the owner, cleared when the connection is
   * handed on. A transport that cannot detect a reset without reading may omit the call: the next read or write then
   * rejects.
   */
  onReset: ((error: ProxyError) => void) | undefined;
  /**
   * Resolves with the next bytes, which the caller owns; `undefined` when the peer has finished sending. Rejects with a
   * `ProxyError` if the connection is lost, and with the reason given to {@link destroy}.
   */
  read(): Promise<Uint8Array | undefined>;
  /** Resolves when the kernel has taken all of `bytes`, or will by itself. The caller must not modify them any more. */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Closes both directions at once; idempotent. A pending `read` or `write` rejects with `reason`; bytes that the
   * kernel has taken are still sent. Passes a reset on: with the reason `UPSTREAM_RESET`, the peer of a downstream
   * connection sees a reset, and vice versa.
   */
  destroy(reason?: ProxyError): void;
}

/** Settings of a listener and its accepted connections. */
export interface ListenOptions {
  /** Length of the kernel's accept queue. */
  readonly backlog: number;
  /** TCP keepalive of accepted connections. */
  readonly keepAlive: KeepAlive;
  /** Several processes share the port, and the kernel distributes connections among them (`SO_REUSEPORT`). */
  readonly reusePort?: boolean;
  /**
   * File descriptor of an inherited socket that already listens: it is used instead of binding. The transport owns it
   * from then on.
   */
  readonly socket?: number;
  /**
   * Other processes accept on `socket` too: wake-ups must be spread so that no process gets all connections while the
   * others sleep.
   */
  readonly sharesSocket?: boolean;
  /** Called when accepting is paused (no file descriptor left) and when it is resumed; for nothing else. */
  onPause(paused: boolean, reason: Error): void;
}

/** Settings of dialled connections. */
export interface DialOptions {
  /** TCP keepalive of the new connection. */
  readonly keepAlive: KeepAlive;
  /** Maximum time until the connection is established, in milliseconds. */
  readonly timeoutMs: number;
}

/** Settings of one splice. */
export interface SpliceOptions {
  /** Bytes already read from the downstream: written to the upstream first, and not kept afterwards. */
  readonly head: Uint8Array;
  /** Maximum time without a byte from either side, in milliseconds: closed with `IDLE_TIMEOUT`. `Infinity`: none. */
  readonly idleTimeoutMs: number;
  /**
   * The same once one side has finished sending, with `HALF_CLOSE_TIMEOUT`; counted from that moment, or from the last
   * byte after it. Milliseconds; `idleTimeoutMs` applies when absent or longer.
   */
  readonly halfCloseTimeoutMs?: number | undefined;
  /**
   * Deadline for handing back, in milliseconds of the monotonic clock: if the upstream ends or is lost before it, and
   * before a byte or an end from either side, the splice ends without closing the downstream; see {@link
   * Transfer.handedBack}. Never when absent. A transport may ignore it.
   */
  readonly handBackUntilMs?: number | undefined;
}

/** The result of a splice. */
export interface Transfer {
  /** Bytes that the kernel took for the upstream, including the head. */
  readonly bytesUp: number;
  /** Bytes that the kernel took for the downstream. */
  readonly bytesDown: number;
  /** Time of the upstream's first byte (monotonic milliseconds); absent if there was none. */
  readonly firstByteAt?: number | undefined;
  /** Absent if both sides finished normally. */
  readonly error?: ProxyError | undefined;
  /**
   * The upstream ended, or was lost with `error`, without sending a byte. The caller owns the downstream again: it is
   * open, with every byte received in the meantime. Only if {@link SpliceOptions.handBackUntilMs} allows it.
   */
  readonly handedBack?: true;
}

/** Bytes carried so far: may be read at any time; the transport updates the object in place. */
export interface Progress {
  /** Bytes that the kernel has taken for the upstream, including the head. */
  readonly bytesUp: number;
  /** Bytes that the kernel has taken for the downstream. */
  readonly bytesDown: number;
  /** Time of the last byte from either side (monotonic milliseconds); the start of the splice before the first byte. */
  readonly lastByteAt: number;
}

/** A side of a splice that waits for its network. */
export interface Stall {
  /** The side whose packets are lost: client or backend. */
  readonly side: 'downstream' | 'upstream';
  /** Details from the system, with the probable cause. For people. */
  readonly reason: string;
}

/** A splice in progress. */
export interface Splice extends Progress {
  /** Resolves when both directions have ended and both connections are closed or handed back. Never rejects. */
  readonly done: Promise<Transfer>;
  /** Returns the side that waits for its network, if the system can tell. Absent if the transport cannot tell. */
  stalled?(): Stall | undefined;
  /** Ends the splice: both sides are closed, and `done` resolves with `reason` as its error. Idempotent. */
  cut(reason: ProxyError): void;
}

/** A bound listener. */
export interface Listening {
  /** The bound address: with the port that the system selected if 0 was requested. */
  readonly address: Endpoint;
  /** Stops accepting; accepted connections continue. Idempotent; resolves when the port is free. */
  close(): Promise<void>;
  /** Sets the TCP keepalive of connections accepted from now on; absent if the transport cannot change it. */
  keepAlive?(keepAlive: KeepAlive): void;
  /** The listening sockets, for a successor; absent if the transport cannot pass them on, or has none at the moment. */
  readonly held?: HeldSockets | undefined;
}

/** Listening sockets that can be passed on. */
export interface HeldSockets {
  /** File descriptors, usually one, for another process to inherit; they stay open, and the transport owns them. */
  readonly fds: readonly number[];
  /** The handles to pass to `process.send`, one for each descriptor; absent if there are only descriptors. */
  readonly handles?: readonly unknown[];
  /**
   * Like `close`, after another process has inherited the sockets: connections in the kernel's queue are left to that
   * process, and the path of a unix socket stays.
   */
  release(): Promise<void>;
}

/** A dial in progress. */
export interface Dial {
  /**
   * Resolves with the connection, which the caller owns. Rejects with `CONNECT_REFUSED`, `CONNECT_TIMEOUT`,
   * `CONNECT_FAILED`, `LOCAL_RESOURCE`, or with the reason given to {@link cut}; nothing is left behind then. An error
   * of the system is the `cause`.
   */
  readonly done: Promise<Connection>;
  /** Aborts the dial: `done` rejects with `reason`. No effect once `done` has settled. Idempotent. */
  cut(reason: ProxyError): void;
}

/** The interface between the pipeline and the network. `describeTransport` of the testkit tests the contract. */
export interface Transport {
  /** Name in the configuration and in messages: lower case letters, digits and hyphens. */
  readonly name: string;
  /**
   * Binds and accepts until closed. `onConnection` owns the connection, must not throw, and must handle it from the
   * first tick on. `TCP_NODELAY` is set on every connection. Rejects with the system's error (`EADDRINUSE` …, with
   * `address` and `port`) if it cannot bind.
   */
  listen(at: Endpoint, options: ListenOptions, onConnection: (connection: Connection) => void): Promise<Listening>;
  /** Connects. `to.host` is an address or a unix socket, never a DNS name. Does not throw. */
  dial(to: Endpoint, options: DialOptions): Dial;
  /**
   * Carries bytes in both directions until both have ended, with backpressure and half-close in each direction; a reset
   * on one side is passed on to the other. Owns both connections from the call on, and closes those that it does not
   * hand back.
   */
  splice(down: Connection, up: Connection, options: SpliceOptions): Splice;
  /** Returns the pipe usage of this process; `undefined` before the transport is opened. Absent if it uses no pipes. */
  pipes?(): PipeUsage | undefined;
}

/** Pipes of a transport in one process. */
export interface PipeUsage {
  /** Pipes in use. */
  readonly used: number;
  /** Maximum number of pipes: beyond it, bytes are copied. */
  readonly limit: number;
}
