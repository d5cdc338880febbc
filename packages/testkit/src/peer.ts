import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { Endpoint } from '@meshgate/core';
import { Changes } from './changes.ts';

/** How a stream ended, from the point of view of one end. */
export type Ending =
  /** Both ends finished normally (FIN, or `close_notify`). */
  | { readonly kind: 'finished' }
  /** The other end reset the stream (RST), or it was lost otherwise; `error.code` is the system's. */
  | { readonly kind: 'lost'; readonly error: NodeJS.ErrnoException }
  /** This end closed or reset the stream before the other had finished. */
  | { readonly kind: 'destroyed' };

/**
 * One end of a byte stream under a test's control: a client, or an accepted connection. It reads continuously, so that
 * it detects the end at once; received bytes are buffered until they are requested. {@link Peer.pause} makes it a slow
 * reader.
 */
export interface Peer extends AsyncDisposable {
  /** Address of this end. */
  readonly local: Endpoint;
  /** Address of the other end. */
  readonly remote: Endpoint;
  /** Bytes received so far, requested or not. */
  readonly bytesReceived: number;
  /**
   * Resolves when the system has accepted all bytes; rejects if the stream is lost before. Strings are sent as UTF-8.
   */
  send(bytes: Uint8Array | string): Promise<void>;
  /**
   * Sends each piece after the system has accepted the previous one and the event loop has turned, so that they are
   * separate segments.
   */
  sendInPieces(pieces: Iterable<Uint8Array>): Promise<void>;
  /** Resolves with the next `count` bytes. Rejects if the stream ends before, with the bytes received. */
  receive(count: number): Promise<Buffer>;
  /** Resolves with all unrequested bytes up to the end of the stream. Rejects if the stream is lost. */
  receiveAll(): Promise<Buffer>;
  /** Stops reading, which applies backpressure. A loss of the stream is not detected meanwhile. */
  pause(): void;
  /** Resumes reading. */
  resume(): void;
  /** Finishes the sending direction (FIN); the other one stays open. */
  end(): void;
  /** Resets the stream (RST). A unix socket, which has no reset, is closed. */
  reset(): void;
  /** Resolves when the other end has finished sending; rejects if the stream is lost before. */
  readonly finished: Promise<void>;
  /** Resolves when both directions have ended. Never rejects. */
  readonly closed: Promise<Ending>;
}

/** Settings of a {@link Peer}. */
export interface PeerOptions {
  /**
   * Whether only {@link Peer.end} finishes the sending direction; by default it also finishes when the other end does.
   */
  readonly halfOpen?: boolean;
}

/**
 * Takes over `socket`, which must be connected and half-open.
 *
 * @param socket the stream
 * @param raw the TCP connection under it, if that is another object: `reset` resets this one
 */
export function peer(socket: Socket, options: PeerOptions = {}, raw: Socket = socket): Peer {
  return new SocketPeer(socket, options, raw);
}

class SocketPeer implements Peer {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly finished: Promise<void>;
  readonly closed: Promise<Ending>;
  readonly #socket: Socket;
  readonly #raw: Socket;
  readonly #options: PeerOptions;
  readonly #changes = new Changes();
  #chunks: Buffer[] = [];
  #waitingBytes = 0;
  #bytesReceived = 0;
  #ended = false;
  #closed = false;
  #error: NodeJS.ErrnoException | undefined;

  constructor(socket: Socket, options: PeerOptions, raw: Socket) {
    this.#socket = socket;
    this.#raw = raw;
    this.#options = options;
    this.local = endpoint(raw.localAddress, raw.localPort);
    this.remote = endpoint(raw.remoteAddress, raw.remotePort);
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('end', () => this.#onEnd());
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#error ??= error;
    });
    this.closed = new Promise((resolve) => {
      socket.once('close', () => resolve(this.#onClose()));
    });
    this.finished = this.#when(() => this.#ended);
    // A test need not await it.
    this.finished.catch(() => undefined);
  }

  get bytesReceived(): number {
    return this.#bytesReceived;
  }

  send(bytes: Uint8Array | string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.write(bytes, (error) => (error instanceof Error ? reject(error) : resolve()));
    });
  }

  async sendInPieces(pieces: Iterable<Uint8Array>): Promise<void> {
    for (const piece of pieces) {
      await this.send(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async receive(count: number): Promise<Buffer> {
    await this.#when(() => this.#waitingBytes >= count || this.#ended);
    if (this.#waitingBytes < count)
      throw new Error(`expected ${count} bytes, found the end after ${this.#waitingBytes}: ${this.#preview()}`);
    return this.#take(count);
  }

  async receiveAll(): Promise<Buffer> {
    await this.#when(() => this.#ended);
    return this.#take(this.#waitingBytes);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#socket.end();
  }

  reset(): void {
    if (this.local.host === '') this.#raw.destroy();
    else this.#raw.resetAndDestroy();
    this.#socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
    this.#raw.destroy();
    await this.closed;
    if (!this.#raw.closed) await once(this.#raw, 'close');
  }

  #onData(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#waitingBytes += chunk.length;
    this.#bytesReceived += chunk.length;
    this.#changes.announce();
  }

  #onEnd(): void {
    this.#ended = true;
    if (this.#options.halfOpen !== true) this.#socket.end();
    this.#changes.announce();
  }

  #onClose(): Ending {
    this.#closed = true;
    this.#changes.announce();
    if (this.#error !== undefined) return { kind: 'lost', error: this.#error };
    return this.#ended ? { kind: 'finished' } : { kind: 'destroyed' };
  }

  /** Resolves when `holds`; rejects if the stream has closed and it does not hold. */
  async #when(holds: () => boolean): Promise<void> {
    await this.#changes.until(() => {
      if (holds()) return true;
      if (!this.#closed) return undefined;
      throw this.#error ?? new Error('expected the other end to finish, found this end closed before');
    });
  }

  #take(count: number): Buffer {
    const all = Buffer.concat(this.#chunks);
    const rest = all.subarray(count);
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#waitingBytes = rest.length;
    return all.subarray(0, count);
  }

  #preview(): string {
    return JSON.stringify(Buffer.concat(this.#chunks).subarray(0, 80).toString('latin1'));
  }
}

/** Unix sockets have no address in the system. */
function endpoint(host = '', port = 0): Endpoint {
  return { host, port };
}
