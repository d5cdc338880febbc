import { ProxyError } from '@meshgate/core';
import type { Connection, Endpoint } from '@meshgate/core';
import { closePassingOn, lostBy } from './connection-loss.ts';
import type { ConnectionEnd } from '@meshgate/core/parts';
import type { SocketOwner, StreamSocket, TransportKernel } from './stream-socket.ts';
import { ECONNRESET } from './system-error.ts';

interface PendingRead {
  resolve(bytes: Uint8Array | undefined): void;
  reject(reason: ProxyError): void;
}

interface PendingWrite {
  /** Bytes that the kernel has not accepted yet. */
  readonly rest: Uint8Array;
  resolve(): void;
  reject(reason: ProxyError): void;
}

/** Side and addresses of a connection. */
export interface ConnectionEnds {
  readonly side: ConnectionEnd;
  /** The peer. */
  readonly remote: Endpoint;
  /** The local address; read from the system on demand when absent. */
  readonly local?: Endpoint | undefined;
}

/**
 * A {@link StreamSocket} as a {@link Connection}: reads and writes as promises, until a splice takes over the socket.
 */
export class SocketConnection<Kernel extends TransportKernel, Socket extends StreamSocket>
  implements Connection, SocketOwner
{
  readonly remote: Endpoint;
  onReset: ((error: ProxyError) => void) | undefined;
  /** The kernel of its transport. */
  readonly kernel: Kernel;
  readonly #socket: Socket;
  readonly #side: ConnectionEnd;
  #local: Endpoint | undefined;
  #lost: ProxyError | undefined;
  #reader: PendingRead | undefined;
  #writer: PendingWrite | undefined;
  #released = false;

  /** Takes ownership of `socket`. */
  constructor(kernel: Kernel, socket: Socket, { side, remote, local }: ConnectionEnds) {
    this.kernel = kernel;
    this.#socket = socket;
    this.#side = side;
    this.remote = remote;
    this.#local = local;
    socket.owner = this;
  }

  /** Narrows a connection of the transport `name`; one of another transport is a bug in the caller. */
  static own<Kernel extends TransportKernel, Socket extends StreamSocket>(
    connection: Connection,
    name: string,
    type: abstract new (...values: never[]) => Socket,
  ): SocketConnection<Kernel, Socket> {
    if (connection instanceof SocketConnection && connection.#socket instanceof type)
      return connection as SocketConnection<Kernel, Socket>;
    throw new ProxyError('INTERNAL', `the ${name} transport can only splice connections of its own`);
  }

  get local(): Endpoint {
    this.#local ??= this.kernel.sockets.localAddress(this.#socket.fd) ?? { host: this.remote.host, port: 0 };
    return this.#local;
  }

  read(): Promise<Uint8Array | undefined> {
    // Bytes from before a reset can still be read.
    const bytes = this.#take();
    if (bytes !== undefined) return Promise.resolve(bytes);
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
    });
  }

  destroy(reason?: ProxyError): void {
    if (this.#released || this.#socket.closed) return;
    this.#lose(reason ?? new ProxyError('INTERNAL', 'used after it was destroyed'));
    closePassingOn(this.#socket, this.#side, reason);
  }

  /** Releases the socket, with the reason if the connection is lost. */
  release(): { readonly socket: Socket; readonly lost: ProxyError | undefined } {
    this.#released = true;
    this.onReset = undefined;
    return { socket: this.#socket, lost: this.#lost };
  }

  /** Undoes {@link release}. */
  reclaim(): void {
    this.#released = false;
    this.#socket.owner = this;
    this.#socket.clearDeadline();
    this.onReady();
  }

  onReady(): void {
    if (this.#writer !== undefined && this.#socket.writable) this.#writeOn(this.#writer);
    if (this.#reader !== undefined && this.#socket.readable) this.#readFor(this.#reader);
    if (this.#socket.failed && this.#lost === undefined) this.#onError();
  }

  onDeadline(): void {
    // Only the dial sets a deadline, and clears it: a connection has none.
  }

  #readFor(reader: PendingRead): void {
    const bytes = this.#take();
    if (bytes === undefined && !this.#socket.ended) return;
    this.#reader = undefined;
    reader.resolve(bytes);
    this.kernel.turns.afterMicrotasks();
  }

  #writeOn({ rest, resolve, reject }: PendingWrite): void {
    const unsent = this.#send(rest);
    if (unsent === undefined) return;
    this.#writer = unsent.length === 0 ? undefined : { rest: unsent, resolve, reject };
    if (unsent.length > 0) return;
    resolve();
    this.kernel.turns.afterMicrotasks();
  }

  /** Returns received bytes; `undefined` if there are none yet, the stream has ended, or the connection is lost. */
  #take(): Uint8Array | undefined {
    const bytesRead = this.#socket.readable ? this.#socket.take() : 0;
    if (typeof bytesRead !== 'number') return bytesRead;
    if (bytesRead < 0) this.#lose(lostBy(-bytesRead, this.#side));
    return undefined;
  }

  /**
   * @returns the bytes that the kernel has not accepted; `undefined` if the connection is lost
   */
  #send(bytes: Uint8Array): Uint8Array | undefined {
    const { buffer } = this.kernel;
    let rest = bytes;
    while (rest.length > 0 && this.#socket.writable) {
      const share = rest.subarray(0, buffer.bytes.length);
      buffer.bytes.set(share);
      const sent = this.#socket.send(buffer.address, share.length);
      if (sent < 0) {
        this.#lose(lostBy(-sent, this.#side));
        return undefined;
      }
      rest = rest.subarray(sent);
    }
    return rest;
  }

  /** Handles an error, which the kernel reports only once: to the read or write that hits it, or to a query. */
  #onError(): void {
    const awaited = this.#reader !== undefined || this.#writer !== undefined;
    const error = lostBy(this.#socket.takeError() || ECONNRESET, this.#side);
    this.#lose(error);
    if (awaited || this.onReset === undefined) return;
    this.onReset(error);
    this.kernel.turns.afterMicrotasks();
  }

  #lose(reason: ProxyError): void {
    this.#lost ??= reason;
    if (this.#reader === undefined && this.#writer === undefined) return;
    this.#reader?.reject(this.#lost);
    this.#writer?.reject(this.#lost);
    this.#reader = undefined;
    this.#writer = undefined;
    this.kernel.turns.afterMicrotasks();
  }
}
