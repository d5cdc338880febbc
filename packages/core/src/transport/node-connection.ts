import type { OnReadOpts, Socket } from 'node:net';
import { unixPath } from './endpoint.ts';
import type { Endpoint } from './endpoint.ts';
import { ProxyError } from '../errors.ts';
import type { KeepAlive } from '../routes/route.ts';
import { isPassedOn, RESET_OF } from './passed-reset.ts';
import type { ConnectionEnd } from './passed-reset.ts';
import type { Connection } from './transport.ts';

/** Takes over what a connection receives, from one call on until the connection is closed or given back. */
export interface Sink {
  /** `from` received bytes. @returns whether nobody needs them any more: otherwise they are the sink's */
  onBytes(from: NodeConnection, bytes: Uint8Array): boolean;
  /** `from`'s peer has finished sending. */
  onEnd(from: NodeConnection): void;
  /** The kernel has taken all that was written to `to`. */
  onDrained(to: NodeConnection): void;
  /** `connection` was lost. `onClosed` follows. */
  onLost(connection: NodeConnection, error: ProxyError): void;
  /** `connection` is closed: nothing follows. */
  onClosed(connection: NodeConnection): void;
}

const RESOLVED = Promise.resolve();
const NOTHING = new Uint8Array(0);

// What libuv reads at most at a time.
const READ_BYTES = 64 * 1024;

// One for all: an error takes a stack trace with it, which would be a tenth of what a whole connection costs.
const USED_AFTER_CLOSE = new ProxyError('INTERNAL', 'a connection was used after it was closed');

/** What comes instead of a socket when another is put over it. */
export interface UpgradeOptions {
  /** What may lie behind the loss of the connection, for the end of its error message, as long as nothing has been received over it. */
  explainLoss?(): string;
}

const OWNER = Symbol('connection');

/** A socket that knows whose it is: so that one set of listeners serves all sockets, and none has to be made for each. */
interface OwnedSocket extends Socket {
  [OWNER]: NodeConnection;
}

/** Newer releases of Node take all of it; older ones probe ten times, a second apart, whatever is asked for. */
interface ProbedSocket {
  setKeepAlive(enable: boolean, idleMs: number, intervalMs?: number, probes?: number): unknown;
}

/** What a connection is made of. */
interface SocketParts {
  readonly socket: Socket;
  /** The socket of the system: another one than `socket` where TLS runs between the two. */
  readonly bottom: Socket;
  readonly side: ConnectionEnd;
  readonly remote: Endpoint;
  /** Asked of the system when somebody wants to know, if absent. */
  readonly local: Endpoint | undefined;
  /** Absent for unix sockets. */
  readonly keepAlive: KeepAlive | undefined;
}

interface Waiter<T> {
  resolve(value: T): void;
  reject(reason: ProxyError): void;
}

/**
 * A `net.Socket` as a {@link Connection}. It listens to the socket for its whole life: what differs is who is told, first a
 * reader, then a {@link Sink}. Received bytes that nobody has asked for are held, one read at most, and reading pauses.
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
  /** Written by its owner, before a splice. */
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

  /** `undefined` when the client was gone before it could be asked for its address. */
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

  /** For sockets that are dialled: they all read into one buffer. */
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

  /** Narrows what this transport handed out; a connection of another transport is a bug of the caller. */
  static own(connection: Connection): NodeConnection {
    if (connection instanceof NodeConnection) return connection;
    throw new ProxyError('INTERNAL', 'the node transport can only splice connections of its own');
  }

  /**
   * A connection whose bytes go through another socket from now on: `upgrade` gets the present one, with what it has received
   * and nobody has read, and gives the one that is put over it. `connection` can only be destroyed afterwards, which ends both.
   *
   * @throws what `upgrade` rejects with, both sockets destroyed; ProxyError when the connection is lost or has ended already
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

  /** Asked of the system when somebody wants to know: few do, and it is a system call. */
  get local(): Endpoint {
    this.#local ??= { host: unmapped(this.#bottom.localAddress ?? ''), port: this.#bottom.localPort ?? 0 };
    return this.#local;
  }

  /**
   * Bytes of a splice that the kernel has taken: what was written less what still waits here, and less what its owner has written before.
   * Stands still once the connection is lost.
   */
  get bytesCarried(): number {
    return this.#carried ?? Math.max(0, this.#socket.bytesWritten - this.#socket.writableLength - this.#ownBytes);
  }

  /** Both directions have finished by themselves. */
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
    // TLS that is cut short must not look finished to its peer, either.
    const reset = isPassedOn(reason, this.#side) || (reason !== undefined && this.#bottom !== this.#socket);
    // Only TCP has resets; on a unix socket the peer sees the end of the stream.
    if (reset && unixPath(this.remote) === undefined) this.#reset();
    else this.#socket.destroy();
  }

  /** Has the system look after it while it is silent. A unix socket needs no looking after. */
  keepAlive(): void {
    if (this.#keepAlive === undefined || this.#bottom.destroyed) return;
    const { idleMs, intervalMs, probes } = this.#keepAlive;
    const bottom: ProbedSocket = this.#bottom;
    bottom.setKeepAlive(true, idleMs, intervalMs, probes);
  }

  /** Hands everything received, and all that follows, to `sink`. */
  pipeInto(sink: Sink): void {
    this.#sink = sink;
    this.onReset = undefined;
    for (const bytes of this.#held.splice(0)) sink.onBytes(this, bytes);
    if (this.#lost !== undefined) sink.onLost(this, this.#lost);
    else if (this.#ended) sink.onEnd(this);
    if (this.#socket.closed) sink.onClosed(this);
    else this.#socket.resume();
  }

  /** Undoes {@link pipeInto}: what comes from now on is held for whoever reads next. */
  unpipe(): void {
    this.#sink = undefined;
  }

  /** Writes, and says whether more is welcome; when not, `onDrained` of the sink tells. */
  push(bytes: Uint8Array): boolean {
    return this.#socket.write(bytes) || this.isDrained;
  }

  /** The kernel has taken all that was written. */
  get isDrained(): boolean {
    return this.#socket.writableLength === 0;
  }

  /**
   * Finishes the sending direction once everything written has gone. Node is told only then: a socket whose shutdown waits behind
   * bytes cannot be reset (libuv refuses, `uv_tcp_close_reset`), and Node would never close it.
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

  /** A shutdown with no bytes before it is over within a turn. Below TLS there may be some: that its stream is cut short TLS shows by itself. */
  #reset(): void {
    const bottom = this.#bottom;
    if (!bottom.writableEnded || bottom.writableFinished) bottom.resetAndDestroy();
    else if (bottom.writableLength > 0) bottom.destroy();
    else bottom.once('finish', () => bottom.resetAndDestroy());
  }

  /** Gives the socket away, quiet and with all that it has received. */
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
    return new ProxyError(RESET_OF[this.#side], `${this.#side} connection closed before anything could be put over it`);
  }

  /** `bytes` lie in the buffer of all: it is used again when the kernel has taken them, else there is another. */
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
   * Whether what Node reports as the end of an upstream was a reset: libuv takes one that is right behind bytes for the end, with
   * which a refusal or half a response would look whole. A connection that was reset has no peer any more (getpeername(2)).
   * Cannot be told of one on which we have finished, too, nor of a downstream, of whose address Node keeps what it once was.
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
    // Destroying a socket discards what waits in it, and with that the difference we count by.
    this.#carried ??= this.bytesCarried;
    this.#lost ??= reason;
    this.#reader?.reject(this.#lost);
    this.#writer?.reject(this.#lost);
    this.#reader = undefined;
    this.#writer = undefined;
  }
}

/** Every address of the machine: which of them a client used is then the connection's to say. */
function isWildcard({ host }: Endpoint): boolean {
  return host === '::' || host === '0.0.0.0';
}

/** A dual-stack listener shows IPv4 clients as `::ffff:192.0.2.1` (RFC 4291, section 2.5.5.2); people know them as `192.0.2.1`. */
function unmapped(host: string): string {
  return host.startsWith('::ffff:') && host.includes('.') ? host.slice('::ffff:'.length) : host;
}
