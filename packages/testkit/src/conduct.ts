import type { Socket } from 'node:net';

/** Behaviour of a backend on each of its connections. */
export type Conduct =
  /**
   * Echoes received bytes, and finishes after the peer; responds to an HTTP GET with the backend's name, and finishes.
   */
  | { readonly kind: 'echo' }
  /** Reads everything, sends nothing, and finishes after the peer. */
  | { readonly kind: 'sink' }
  /** Sends `bytes` zeros as fast as possible, finishes, and reads everything. */
  | { readonly kind: 'source'; readonly bytes: number }
  /** Finishes its own direction at once, and reads until the peer has finished. */
  | { readonly kind: 'finish-first' }
  /** Reads until the peer has finished, then sends everything back, and finishes. */
  | { readonly kind: 'answer-last' }
  /** Echoes received bytes, and never finishes, even if the peer does. */
  | { readonly kind: 'linger' }
  /** Accepts, but neither reads nor responds: not even a TLS handshake takes place. */
  | { readonly kind: 'hang' }
  /**
   * Resets once `afterBytes` bytes have arrived, not counting the handshake; 0 resets on accept, before any handshake.
   */
  | { readonly kind: 'reset'; readonly afterBytes: number };

/** Whether `conduct` applies to the TCP connection itself, before TLS. */
export function endsBeforeTls(conduct: Conduct): boolean {
  return conduct.kind === 'hang' || (conduct.kind === 'reset' && conduct.afterBytes === 0);
}

/**
 * Applies `conduct` to `socket`, until it closes.
 *
 * @param name the response to a GET
 * @param raw the TCP connection under `socket`, or `socket` itself
 */
export function behave(conduct: Conduct, socket: Socket, name: string, raw: Socket): void {
  switch (conduct.kind) {
    case 'echo':
      return echo(socket, name);
    case 'sink':
      socket.on('end', () => socket.end());
      return void socket.resume();
    case 'source':
      socket.resume();
      return send(socket, conduct.bytes);
    case 'finish-first':
      socket.end();
      return void socket.resume();
    case 'answer-last':
      return respondLast(socket);
    case 'linger':
      return void socket.pipe(socket, { end: false });
    case 'hang':
      return void socket.pause();
    case 'reset':
      return resetAfter(socket, conduct.afterBytes, raw);
  }
}

function echo(socket: Socket, name: string): void {
  socket.once('data', (first: Buffer) => {
    if (first.subarray(0, 4).toString('latin1') === 'GET ') {
      socket.end(`HTTP/1.1 200 OK\r\ncontent-length: ${Buffer.byteLength(name)}\r\nconnection: close\r\n\r\n${name}`);
      socket.resume();
    } else {
      socket.write(first);
      socket.pipe(socket);
    }
  });
  socket.once('end', () => socket.end());
}

const ZEROS = new Uint8Array(64 * 1024);

function send(socket: Socket, bytes: number): void {
  if (socket.destroyed) return;
  if (bytes <= 0) socket.end();
  else socket.write(ZEROS.subarray(0, bytes), () => send(socket, bytes - ZEROS.length));
}

function respondLast(socket: Socket): void {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('end', () => socket.end(Buffer.concat(chunks)));
}

function resetAfter(socket: Socket, afterBytes: number, raw: Socket): void {
  let received = 0;
  if (afterBytes === 0) raw.resetAndDestroy();
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length;
    if (received >= afterBytes) raw.resetAndDestroy();
  });
}
