import { ProxyError } from '@meshgate/core';
import type { Connection, Endpoint } from '@meshgate/core';
import { ECONNRESET, isPassedOn, lostBy } from '@meshgate/linux';
import type { End } from '@meshgate/linux';
import type { Kernel } from './kernel.ts';
import type { Socket, SocketOwner } from './socket.ts';

interface Reader {
  resolve(bytes: Uint8Array | undefined): void;
  reject(reason: ProxyError): void;
}

interface Writer {
  /** What the kernel has not taken yet. */
  readonly rest: Uint8Array;
  resolve(): void;
  reject(reason: ProxyError): void;
}

/** What a connection hands over when it is spliced. */
export interface Released {
  readonly socket: Socket;
  /** Received, and read by nobody. */
  readonly held: Uint8Array | undefined;
  /** Why it is lost, if it is. */
  readonly lost: ProxyError | undefined;
}

/**
 * A {@link Socket} as a {@link Connection}, until a splice takes the socket over. One read is always under way ahead of whoever reads: what
 * comes is held, once; and an end or a reset is known at once.
 */
export class UringConnection implements Connection, SocketOwner {
  readonly remote: Endpoint;
  onReset: ((error: ProxyError) => void) | undefined;
  /** That of the transport to which it belongs. */
  readonly kernel: Kernel;
  readonly #socket: Socket;
  readonly #side: End;
  #local: Endpoint | undefined;
  #held: Uint8Array | undefined;
  #lost: ProxyError | undefined;
  #reader: Reader | undefined;
  #writer: Writer | undefined;
  #released = false;

  /**
   * Owns `socket` from here on.
   * @param local looked up when somebody asks, if absent
   */
  constructor(kernel: Kernel, socket: Socket, side: End, remote: Endpoint, local?: Endpoint) {
    this.kernel = kernel;
    this.#socket = socket;
    this.#side = side;
    this.remote = remote;
    this.#local = local;
    socket.owner = this;
    socket.receive();
  }

  /** Narrows what this transport handed out; a connection of another transport is a bug of the caller. */
  static own(connection: Connection): UringConnection {
    if (connection instanceof UringConnection) return connection;
    throw new ProxyError('INTERNAL', 'the uring transport can only splice connections of its own');
  }

  get local(): Endpoint {
    this.#local ??= this.kernel.sockets.localAddress(this.#socket.fd) ?? { host: this.remote.host, port: 0 };
    return this.#local;
  }

  read(): Promise<Uint8Array | undefined> {
    const held = this.#held;
    if (held !== undefined) {
      this.#held = undefined;
      this.#socket.receive();
      return Promise.resolve(held);
    }
    if (this.#lost !== undefined) return Promise.reject(this.#lost);
    if (this.#socket.ended) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#lost !== undefined) return Promise.reject(this.#lost);
    const rest = this.#send(bytes);
    if (rest === undefined) return Promise.reject(this.#lost ?? lostBy(ECONNRESET, this.#side));
    if (rest.length === 0) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#writer = { rest, resolve, reject };
      this.#socket.awaitWritable();
    });
  }

  destroy(reason?: ProxyError): void {
    if (this.#released || this.#socket.closed) return;
    this.#lose(reason ?? new ProxyError('INTERNAL', 'used after it was destroyed'));
    closePassingOn(this.#socket, this.#side, this.remote, reason);
  }

  /** Gives the socket away, for good. */
  release(): Released {
    this.#released = true;
    this.onReset = undefined;
    return { socket: this.#socket, held: this.#held, lost: this.#lost };
  }

  onReceived(_socket: Socket, id: number, length: number): false {
    const bytes = Buffer.from(this.kernel.buffers.bytesOf(id, length));
    const reader = this.#reader;
    if (reader === undefined) {
      this.#held = bytes;
      this.#socket.watchForLoss();
      return false;
    }
    this.#reader = undefined;
    reader.resolve(bytes);
    this.kernel.loop.settled();
    this.#socket.receive();
    return false;
  }

  onEnded(): void {
    if (this.#reader === undefined) return;
    this.#reader.resolve(undefined);
    this.#reader = undefined;
    this.kernel.loop.settled();
  }

  onLost(_socket: Socket, errno: number): void {
    if (this.#lost !== undefined) return;
    const awaited = this.#reader !== undefined || this.#writer !== undefined;
    const error = lostBy(errno, this.#side);
    this.#lose(error);
    if (awaited || this.onReset === undefined) return;
    this.onReset(error);
    this.kernel.loop.settled();
  }

  onWritable(): void {
    const writer = this.#writer;
    if (writer === undefined) return;
    const rest = this.#send(writer.rest);
    if (rest === undefined) return;
    if (rest.length > 0) {
      this.#writer = { rest, resolve: writer.resolve, reject: writer.reject };
      this.#socket.awaitWritable();
      return;
    }
    this.#writer = undefined;
    writer.resolve();
    this.kernel.loop.settled();
  }

  onConnected(): void {
    // Connected before it became a connection.
  }

  onSent(): void {
    // Nothing is sent by the ring before there is a splice.
  }

  onReadable(): void {
    // Never asked for.
  }

  onDeadline(): void {
    // Set while dialling, and cleared with it: no deadline of a connection's own.
  }

  onClosed(): void {
    // Nobody waits for it.
  }

  /** @returns what the kernel has not taken; `undefined` when the connection is lost */
  #send(bytes: Uint8Array): Uint8Array | undefined {
    const { buffer } = this.kernel;
    let rest = bytes;
    while (rest.length > 0) {
      const share = rest.subarray(0, buffer.bytes.length);
      buffer.bytes.set(share);
      const sent = this.#socket.sendNow(buffer.address, share.length);
      if (sent < 0) {
        this.#lose(lostBy(-sent, this.#side));
        return undefined;
      }
      rest = rest.subarray(sent);
      if (sent < share.length) return rest;
    }
    return rest;
  }

  #lose(reason: ProxyError): void {
    this.#lost ??= reason;
    if (this.#reader === undefined && this.#writer === undefined) return;
    this.#reader?.reject(this.#lost);
    this.#writer?.reject(this.#lost);
    this.#reader = undefined;
    this.#writer = undefined;
    this.kernel.loop.settled();
  }
}

/** Closes `socket`; what the other side did, its peer sees too. */
export function closePassingOn(socket: Socket, side: End, remote: Endpoint, reason: ProxyError | undefined): void {
  if (isPassedOn(reason, side, remote)) socket.reset();
  else socket.close();
}
