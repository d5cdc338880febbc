import type { OnReadOpts, Socket } from 'node:net';
import { isWildcard, unixPath } from './endpoint.ts';
import type { Endpoint } from './endpoint.ts';
import { ProxyError } from '../errors.ts';
import type { KeepAlive } from '../routes/route.ts';
import { isPassedOn, RESET_OF } from './passed-reset.ts';
import type { ConnectionEnd } from './passed-reset.ts';
import type { Connection } from './transport.ts';

/** Receives the bytes and events of a connection, until the connection is closed or handed back. */
export interface Sink {
  /** `from` received bytes. @returns whether they are no longer needed; otherwise the sink owns them */
  onBytes(from: NodeConnection, bytes: Uint8Array): boolean;
  /** The peer of `from` has finished sending. */
  onEnd(from: NodeConnection): void;
  /** The kernel has taken everything written to `to`. */
  onDrained(to: NodeConnection): void;
  /** `connection` was lost. `onClosed` follows. */
  onLost(connection: NodeConnection, error: ProxyError): void;
  /** `connection` is closed; no further call follows. */
  onClosed(connection: NodeConnection): void;
}

const RESOLVED = Promise.resolve();
const NOTHING = new Uint8Array(0);

// The maximum that libuv reads at a time.
const READ_BYTES = 64 * 1024;

// Shared: the stack trace of an error would be a tenth of the cost of a connection.
const USED_AFTER_CLOSE = new ProxyError('INTERNAL', 'a connection was used after it was closed');

/** Options of an upgrade. */
export interface UpgradeOptions {
  /** Returns the probable cause of a loss, appended to the error message until the first byte is received. */
  explainLoss?(): string;
}

const OWNER = Symbol('connection');

/** A socket with a reference to its connection, so that one set of listeners serves all sockets. */
interface OwnedSocket extends Socket {
  [OWNER]: NodeConnection;
}

/** Newer Node versions accept all arguments; older ones always send ten probes, a second apart. */
interface ProbedSocket {
  setKeepAlive(enable: boolean, idleMs: number, intervalMs?: number, probes?: number): unknown;
}

/** The parts of a connection. */
interface SocketParts {
  readonly socket: Socket;
  /** The system's socket; differs from `socket` if TLS runs between the two. */
  readonly bottom: Socket;
  readonly side: ConnectionEnd;
  readonly remote: Endpoint;
  /** Read from the system on demand when absent. */
  readonly local: Endpoint | undefined;
  /** Absent for unix sockets. */
  readonly keepAlive: KeepAlive | undefined;
}

interface Waiter<T> {
  resolve(value: T): void;
  reject(reason: ProxyError): void;
}

/**
 * A `net.Socket` as a {@link Connection}. It listens to the socket for its whole life; first a reader gets the bytes,
 * then a {@link Sink}. Received bytes without a reader are held, at most one read, and reading pauses.
 */
export class NodeConnection implements Connection {
  readonly remote: Endpoint;
  onReset: ((error: ProxyError) => void) | undefined;
  readonly #socket: Socket;
  readonly #bottom: Socket;
  readonly #side: ConnectionEnd;
  readonly #keepAlive: KeepAlive | undefined;
  #local: Endpoint | undefined;
  #explainLoss: (() => string) | undefined;
  readonly #held: Uint8Array[] = [];
  #ended = false;
  #carried: number | undefined;
  /** Number of bytes written by the owner before a splice. */
  #ownBytes = 0;
  #lost: ProxyError | undefined;
  #reader: Waiter<Uint8Array | undefined> | undefined;
  #writer: Waiter<void> | undefined;
  #sink: Sink | undefined;

  static readonly #listeners = {
    data(this: OwnedSocket, bytes: Uint8Array): void {
      this[OWNER].#onBytes(bytes);
    },
    end(this: OwnedSocket): void {
      this[OWNER].#onEnd();
    },
    drain(this: OwnedSocket): void {
      this[OWNER].#onDrain();
    },
    error(this: OwnedSocket, error: NodeJS.ErrnoException): void {
      this[OWNER].#onError(error);
    },
    close(this: OwnedSocket): void {
      this[OWNER].#onClose();
    },
  };

  private constructor({ socket, bottom, side, remote, local, keepAlive }: SocketParts) {
    this.#socket = socket;
    this.#bottom = bottom;
    this.#side = side;
    this.remote = remote;
    this.#local = local;
    this.#keepAlive = keepAlive;
    const { data, end, drain, error, close } = NodeConnection.#listeners;
    Object.assign(socket, { [OWNER]: this });
    socket.on('data', data).on('end', end).on('drain', drain).on('error', error).on('close', close);
  }

  /** Returns the connection of an accepted socket; `undefined` if the client closed before its address was read. */
  static accepted(socket: Socket, listening: Endpoint, keepAlive: KeepAlive): NodeConnection | undefined {
    const bottom = socket;
    const side = 'downstream';
    if (unixPath(listening) !== undefined)
      return new NodeConnection({ socket, bottom, side, remote: listening, local: listening, keepAlive: undefined });
    const { remoteAddress, remotePort } = socket;
    if (remoteAddress === undefined || remotePort === undefined) {
      socket.on('error', () => undefined);
      socket.destroy();
      return undefined;
    }
    const remote = { host: unmapped(remoteAddress), port: remotePort };
    const local = isWildcard(listening) ? undefined : listening;
    return new NodeConnection({ socket, bottom, side, remote, local, keepAlive });
  }

  /** For dialled sockets: all of them read into one buffer. */
  static readonly onread: OnReadOpts = {
    buffer: () => NodeConnection.#readBuffer,
    callback(this: OwnedSocket, length: number, buffer: Uint8Array): boolean {
      this[OWNER].#onRead(buffer.subarray(0, length));
      return true;
    },
  };

  static #readBuffer: Uint8Array = new Uint8Array(READ_BYTES);

  static dialled(socket: Socket, to: Endpoint, keepAlive: KeepAlive): NodeConnection {
    const bottom = socket;
    return unixPath(to) === undefined
      ? new NodeConnection({ socket, bottom, side: 'upstream', remote: to, local: undefined, keepAlive })
      : new NodeConnection({ socket, bottom, side: 'upstream', remote: to, local: to, keepAlive: undefined });
  }

  /** Narrows a connection of this transport; one of another transport is a bug in the caller. */
  static own(connection: Connection): NodeConnection {
    if (connection instanceof NodeConnection) return connection;
    throw new ProxyError('INTERNAL', 'the node transport can only splice connections of its own');
  }

  /**
   * Replaces a connection's socket: `upgrade` gets the present one, with all bytes received and not read, and returns
   * the one to use instead. `connection` can then only be destroyed, which closes both sockets.
   *
   * @throws the error of `upgrade`, with both sockets destroyed; ProxyError if the connection is lost or has ended
   */
  static async over(
    connection: Connection,
    upgrade: (socket: Socket) => Promise<Socket>,
    { explainLoss }: UpgradeOptions = {},
  ): Promise<Connection> {
    const below = NodeConnection.own(connection);
    const bottom = below.#release();
    try {
      const socket = await upgrade(bottom);
      if (socket.destroyed || bottom.destroyed) throw below.#gone();
      const above = new NodeConnection({
        socket,
        bottom,
        side: below.#side,
        remote: below.remote,
        local: below.#local,
        keepAlive: below.#keepAlive,
      });
      above.#explainLoss = explainLoss;
      socket.resume();
      return above;
    } catch (reason) {
      bottom.destroy();
      throw reason;
    }
  }

  /** Read from the system on demand: it is rarely needed, and takes a system call. */
  get local(): Endpoint {
    this.#local ??= { host: unmapped(this.#bottom.localAddress ?? ''), port: this.#bottom.localPort ?? 0 };
    return this.#local;
  }

  /**
   * Bytes of a splice that the kernel has taken: those written, without those still in Node's buffer, and without those
   * that the owner wrote before. Does not change once the connection is lost.
   */
  get bytesCarried(): number {
    return this.#carried ?? Math.max(0, this.#socket.bytesWritten - this.#socket.writableLength - this.#ownBytes);
  }

  /** Whether both directions have finished normally. */
  get finished(): boolean {
    return this.#ended && this.#socket.writableFinished;
  }

  read(): Promise<Uint8Array | undefined> {
    const bytes = this.#held.shift();
    if (bytes !== undefined) {
      if (this.#held.length === 0) this.#socket.resume();
      return Promise.resolve(bytes);
    }
    if (this.#ended) return Promise.resolve(undefined);
    if (this.#lost !== undefined) return Promise.reject(this.#lost);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#lost !== undefined) return Promise.reject(this.#lost);
    this.#ownBytes += bytes.length;
    if (this.push(bytes)) return RESOLVED;
    return new Promise((resolve, reject) => {
      this.#writer = { resolve, reject };
    });
  }

  destroy(reason?: ProxyError): void {
    if (this.#socket.destroyed) return;
    this.#lose(reason ?? USED_AFTER_CLOSE);
    // TLS that is cut off must not look finished to its peer either.
    const reset = isPassedOn(reason, this.#side) || (reason !== undefined && this.#bottom !== this.#socket);
    // Only TCP has resets; the peer of a unix socket sees the end of the stream.
    if (reset && unixPath(this.remote) === undefined) this.#reset();
    else this.#socket.destroy();
  }

  /** Enables TCP keepalive. No effect on unix sockets, which do not need it. */
  keepAlive(): void {
    if (this.#keepAlive === undefined || this.#bottom.destroyed) return;
    const { idleMs, intervalMs, probes } = this.#keepAlive;
    const bottom: ProbedSocket = this.#bottom;
    bottom.setKeepAlive(true, idleMs, intervalMs, probes);
  }

  /** Passes everything received so far, and from now on, to `sink`. */
  pipeInto(sink: Sink): void {
    this.#sink = sink;
    this.onReset = undefined;
    for (const bytes of this.#held.splice(0)) sink.onBytes(this, bytes);
    if (this.#lost !== undefined) sink.onLost(this, this.#lost);
    else if (this.#ended) sink.onEnd(this);
    if (this.#socket.closed) sink.onClosed(this);
    else this.#socket.resume();
  }

  /** Undoes {@link pipeInto}: received bytes are held for the next reader. */
  unpipe(): void {
    this.#sink = undefined;
  }

  /** Writes bytes. @returns whether more may be written; if not, wait for `onDrained` of the sink */
  push(bytes: Uint8Array): boolean {
    return this.#socket.write(bytes) || this.isDrained;
  }

  /** Whether the kernel has taken everything written. */
  get isDrained(): boolean {
    return this.#socket.writableLength === 0;
  }

  /**
   * Finishes the sending direction after everything written. Node's `end` is only called then: a socket whose shutdown
   * waits behind bytes cannot be reset (libuv refuses, `uv_tcp_close_reset`), and Node would never close it.
   */
  end(): void {
    const socket = this.#socket;
    if (socket.writableLength === 0) socket.end();
    else socket.write(NOTHING, (error) => void (error ?? socket.end()));
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /**
   * Resets the connection. A shutdown without pending bytes completes within a turn. Below TLS there may be pending
   * bytes; TLS itself shows that its stream was cut off.
   */
  #reset(): void {
    const bottom = this.#bottom;
    if (!bottom.writableEnded || bottom.writableFinished) bottom.resetAndDestroy();
    else if (bottom.writableLength > 0) bottom.destroy();
    else bottom.once('finish', () => bottom.resetAndDestroy());
  }

  /** Releases the socket, paused, without listeners, and with everything that it has received. */
  #release(): Socket {
    if (this.#lost !== undefined) throw this.#lost;
    if (this.#ended) throw this.#gone();
    const socket = this.#socket;
    const { data, end, drain, error, close } = NodeConnection.#listeners;
    socket.off('data', data).off('end', end).off('drain', drain).off('error', error).off('close', close);
    socket.pause();
    for (const bytes of this.#held.splice(0).reverse()) socket.unshift(bytes);
    return socket;
  }

  #gone(): ProxyError {
    return new ProxyError(RESET_OF[this.#side], `${this.#side} connection closed before its upgrade`);
  }

  /** `bytes` are in the shared buffer: it is reused if the kernel has taken them, otherwise replaced. */
  #onRead(bytes: Uint8Array): void {
    if (this.#sink === undefined) this.#onBytes(Buffer.from(bytes));
    else if (!this.#sink.onBytes(this, bytes)) NodeConnection.#readBuffer = new Uint8Array(READ_BYTES);
  }

  #onBytes(bytes: Uint8Array): void {
    this.#explainLoss = undefined;
    const reader = this.#reader;
    if (this.#sink !== undefined) this.#sink.onBytes(this, bytes);
    else if (reader !== undefined) {
      this.#reader = undefined;
      reader.resolve(bytes);
    } else {
      this.#held.push(bytes);
      this.#socket.pause();
    }
  }

  #onEnd(): void {
    if (this.#isReset) {
      this.#onError(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }));
      return;
    }
    this.#ended = true;
    if (this.#sink !== undefined) this.#sink.onEnd(this);
    else {
      this.#reader?.resolve(undefined);
      this.#reader = undefined;
    }
  }

  /**
   * Whether the end of an upstream that Node reports was a reset: libuv takes a reset right behind bytes for an end,
   * which would make a refusal or half a response look complete. A reset connection has no peer address any more
   * (getpeername(2)). Cannot be detected once this side has finished sending too, or on a downstream, whose address
   * Node caches.
   */
  get #isReset(): boolean {
    if (this.#side === 'downstream' || this.#socket.writableEnded || unixPath(this.remote) !== undefined) return false;
    return this.#bottom.remoteAddress === undefined;
  }

  #onDrain(): void {
    if (this.#sink !== undefined) this.#sink.onDrained(this);
    this.#writer?.resolve();
    this.#writer = undefined;
  }

  #onError(cause: NodeJS.ErrnoException): void {
    if (this.#lost !== undefined) return;
    const why = this.#explainLoss === undefined ? '' : `; ${this.#explainLoss()}`;
    const message = `${this.#side} connection lost: ${cause.code ?? cause.message}${why}`;
    const error = new ProxyError(RESET_OF[this.#side], message, { cause });
    const awaited = this.#reader !== undefined || this.#writer !== undefined;
    this.#lose(error);
    if (this.#sink !== undefined) this.#sink.onLost(this, error);
    else if (!awaited) this.onReset?.(error);
  }

  #onClose(): void {
    this.#lose(USED_AFTER_CLOSE);
    this.#sink?.onClosed(this);
  }

  #lose(reason: ProxyError): void {
    // Destroying a socket discards its buffer, on which the count depends.
    this.#carried ??= this.bytesCarried;
    this.#lost ??= reason;
    this.#reader?.reject(this.#lost);
    this.#writer?.reject(this.#lost);
    this.#reader = undefined;
    this.#writer = undefined;
  }
}

/** Returns IPv4 addresses without the `::ffff:` prefix that a dual-stack listener adds (RFC 4291, section 2.5.5.2). */
function unmapped(host: string): string {
  return host.startsWith('::ffff:') && host.includes('.') ? host.slice('::ffff:'.length) : host;
}
