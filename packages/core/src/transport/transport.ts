import type { Endpoint } from './endpoint.ts';
import type { ProxyError } from '../errors.ts';
import type { KeepAlive } from '../routes/route.ts';

/**
 * One byte stream, owned by exactly one stage at a time: the stage that holds it reads it, and destroys it or hands it on.
 * At most one `read` and one `write` may be under way.
 */
export interface Connection {
  /** The peer. */
  readonly remote: Endpoint;
  /** This side's own address. */
  readonly local: Endpoint;
  /**
   * Called once when the peer resets while nobody is reading or writing; set by the owner, cleared on handing on. A transport
   * that cannot see a reset without reading may stay silent: the next read or write then rejects.
   */
  onReset: ((error: ProxyError) => void) | undefined;
  /**
   * The next bytes, which belong to the caller from then on; `undefined` when the peer has finished sending.
   * Rejects with a `ProxyError` when the connection is lost, and with the reason given to {@link destroy}.
   */
  read(): Promise<Uint8Array | undefined>;
  /** Resolves when the kernel has taken all of `bytes`, or will without further help; the caller no longer touches them. */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Closes at once, both ways; idempotent. A pending `read` or `write` rejects with `reason`; what the kernel had taken by then still
   * goes out.
   * A reset of the other side is passed on: with the reason `UPSTREAM_RESET` a downstream's peer sees a reset, and the reverse.
   */
  destroy(reason?: ProxyError): void;
}

/** Settings of accepted connections. */
export interface ListenOptions {
  /** Length of the kernel's queue of connections not yet accepted. */
  readonly backlog: number;
  /** TCP keepalive of each accepted connection. */
  readonly keepAlive: KeepAlive;
  /** Several processes share the port, the kernel spreads connections over them (`SO_REUSEPORT`). */
  readonly reusePort?: boolean;
  /**
   * Descriptor of a socket that listens already, inherited from whoever started this process: accepted on in place of binding. The
   * transport owns it from then on.
   */
  readonly socket?: number;
  /** Other processes accept on `socket` as well: none of them may be woken for all connections while the others sleep. */
  readonly sharesSocket?: boolean;
  /** Told when accepting had to pause (no file descriptor left) and when it goes on. Nothing else is reported this way. */
  onPause(paused: boolean, reason: Error): void;
}

/** Settings of dialled connections. */
export interface DialOptions {
  /** TCP keepalive of the new connection. */
  readonly keepAlive: KeepAlive;
  /** Longest wait for the connection to be established, in milliseconds. */
  readonly timeoutMs: number;
}

/** Settings of one splice. */
export interface SpliceOptions {
  /** Bytes already read from the downstream: written to the upstream before anything else, and not kept afterwards. */
  readonly head: Uint8Array;
  /** Without a byte from either side for this long, both are closed with `IDLE_TIMEOUT`. Milliseconds; `Infinity`: never. */
  readonly idleTimeoutMs: number;
  /**
   * The same once one side has finished sending, with `HALF_CLOSE_TIMEOUT`; counted from that end on, or from the last byte after it.
   * Milliseconds; as `idleTimeoutMs` when absent or longer.
   */
  readonly halfCloseTimeoutMs?: number | undefined;
  /**
   * Until then, in milliseconds of the monotonic clock, an upstream that ends or is lost before a byte or an end has come from either side
   * ends the splice without the downstream: see {@link Transfer.handedBack}. Never when absent. A transport may leave it out.
   */
  readonly handBackUntilMs?: number | undefined;
}

/** How the carrying ended. */
export interface Transfer {
  /** Bytes that the kernel took for the upstream, the head included. */
  readonly bytesUp: number;
  /** Bytes that the kernel took for the downstream. */
  readonly bytesDown: number;
  /** When the upstream's first byte arrived (monotonic milliseconds); absent when none did. */
  readonly firstByteAt?: number | undefined;
  /** Absent when both sides finished by themselves. */
  readonly error?: ProxyError | undefined;
  /**
   * The upstream has ended, or is lost for the reason `error`, without an answer: the downstream is open, and the caller's again, with all
   * that has come of it meanwhile. Only as {@link SpliceOptions.handBackUntilMs} allows it.
   */
  readonly handedBack?: true;
}

/** What a splice has moved so far: read at any time, updated in place by the transport. */
export interface Progress {
  /** As in {@link Transfer}: what the kernel has taken for the upstream, the head included. */
  readonly bytesUp: number;
  /** What the kernel has taken for the downstream. */
  readonly bytesDown: number;
  /** When a byte last arrived from either side (monotonic milliseconds); the start of the splice when none has. */
  readonly lastByteAt: number;
}

/** A side of a splice that waits for its network. */
export interface Stall {
  /** Whose packets are lost: those of the client, or those of the backend. */
  readonly side: 'downstream' | 'upstream';
  /** What the system says of it, with the probable cause. For people. */
  readonly reason: string;
}

/** A splice under way. */
export interface Splice extends Progress {
  /** Settles when both directions have ended and both connections are closed, those that are handed back apart. Never rejects. */
  readonly done: Promise<Transfer>;
  /**
   * Which side waits for its network, as far as the system can tell at this moment; `undefined` when none does. Absent where the transport cannot
   * tell.
   */
  stalled?(): Stall | undefined;
  /** Ends it now: both sides are closed, `done` resolves with `reason` as its error. Idempotent. */
  cut(reason: ProxyError): void;
}

/** A bound listener. */
export interface Listening {
  /** The address in use: with the port that the system chose when 0 was asked for. */
  readonly address: Endpoint;
  /** Stops accepting; accepted connections live on. Idempotent; resolves when the port is free. */
  close(): Promise<void>;
  /** Connections that are accepted from now on have another TCP keepalive; absent where the transport cannot change it. */
  keepAlive?(keepAlive: KeepAlive): void;
  /** Its sockets, for a process that goes on with them; absent where the transport cannot give them away, or has none at the moment. */
  readonly held?: HeldSockets | undefined;
}

/** Sockets that listen, and may be given away. */
export interface HeldSockets {
  /** Descriptors, for another process to inherit; they stay open, and the transport's. Most often it is one. */
  readonly fds: readonly number[];
  /** What `process.send` takes for each of them, where Node has it; absent where the descriptor is all there is. */
  readonly handles?: readonly unknown[];
  /**
   * As `close`, once another process has it: what waits in the kernel's queue is that one's to accept, and the path of a unix socket
   * stays.
   */
  release(): Promise<void>;
}

/** A connection under way to somebody. */
export interface Dial {
  /**
   * The connection, which belongs to the caller then. Rejects with `CONNECT_REFUSED`, `CONNECT_TIMEOUT`, `CONNECT_FAILED`,
   * `LOCAL_RESOURCE`, or with the reason given to {@link cut}; nothing is left behind then. The system's error, if it was one, is the
   * `cause`.
   */
  readonly done: Promise<Connection>;
  /** Gives it up: `done` rejects with `reason`. Without effect once that has settled. Idempotent. */
  cut(reason: ProxyError): void;
}

/** The seam under the pipeline: how bytes get in and out. `describeTransport` of the testkit holds every implementation to it. */
export interface Transport {
  readonly name: string;
  /**
   * Binds and accepts until closed. `onConnection` owns what it is given, must not throw, and answers for it from the first
   * tick. `TCP_NODELAY` is set on every connection.
   * Rejects with the system's error (`EADDRINUSE` …, with `address` and `port`) when it cannot bind.
   */
  listen(at: Endpoint, options: ListenOptions, onConnection: (connection: Connection) => void): Promise<Listening>;
  /** Connects. `to.host` is an address or a unix socket, never a DNS name. Does not throw. */
  dial(to: Endpoint, options: DialOptions): Dial;
  /**
   * Carries bytes both ways until both have ended: backpressure and half-close in each direction, a reset on one side passed
   * on to the other. Owns both connections from the call on, and closes what it does not hand back.
   */
  splice(down: Connection, up: Connection, options: SpliceOptions): Splice;
  /** How many pipes it holds in this process, and how many it may; absent where it uses none, `undefined` before it is opened. */
  pipes?(): PipeUsage | undefined;
}

/** Pipes of a transport in one process. */
export interface PipeUsage {
  /** At the moment. */
  readonly used: number;
  /** At most: beyond it bytes are copied. */
  readonly limit: number;
}
