// The two ends of a connection: they write what its fate says, and compare every byte that arrives.
import { connect } from 'node:net';
import { HEADER_BYTES } from './fates.mjs';

/**
 * What one end has received.
 *
 * @typedef {object} Seen
 * @property {number} received
 * @property {number | undefined} wrongAt position of the first wrong byte
 * @property {boolean} ended
 * @property {string} [error] of the socket
 */

/**
 * The client's side, from the first byte to the last.
 *
 * @param {number} port
 * @param {import('./fates.mjs').Fate} fate
 * @param {ReturnType<typeof import('./fates.mjs').fatesOf>} fates
 * @returns {Promise<Seen>} once the socket is closed
 */
export function live(port, fate, fates) {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true });
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(fate.number);
  const bytes = fates.up(fate, 0, fate.upBytes);
  socket.write(header);
  const seen = watch(socket, (from, length) => fates.down(fate, from, length), {
    breaksAt: fate.plan === 'client resets' ? fate.breaksAt : Infinity,
    slow: fate.plan === 'slow client',
  });
  // Node does not reset a socket after a half-close.
  if (fate.plan === 'client resets') socket.write(bytes);
  else if (fate.plan === 'client leaves at once') socket.write(bytes, () => socket.destroy());
  else if (fate.plan === 'backend finishes first') socket.once('end', () => socket.end(bytes));
  else if (fate.plan === 'client trickles') trickle(socket, bytes);
  else socket.end(bytes);
  return seen;
}

/**
 * The backend's side: the header contains the number of the connection.
 *
 * @param {import('node:net').Socket} socket
 * @param {ReturnType<typeof import('./fates.mjs').fatesOf>} fates
 * @param {(number: number, seen: Seen) => void} onEnd
 */
export function serve(socket, fates, onEnd) {
  socket.on('error', () => undefined);
  const begin = () => {
    const header = socket.read(HEADER_BYTES);
    if (header === null) return;
    socket.off('readable', begin);
    respond(socket, fates.draw(header.readUInt32BE(0)), fates, onEnd);
  };
  socket.on('readable', begin);
  // Otherwise a connection that is aborted before its header would stay half-open.
  socket.once('end', () => socket.readableLength === 0 && socket.bytesRead < HEADER_BYTES && socket.destroy());
}

function respond(socket, fate, fates, onEnd) {
  const bytes = fates.down(fate, 0, fate.downBytes);
  const seen = watch(socket, (from, length) => fates.up(fate, from, length), {
    breaksAt: fate.plan === 'backend resets' ? fate.breaksAt : Infinity,
    slow: fate.plan === 'slow backend',
  });
  void seen.then((all) => onEnd(fate.number, all));
  if (fate.plan === 'client finishes first') socket.once('end', () => socket.end(bytes));
  else if (fate.plan === 'backend resets') socket.write(bytes);
  else if (fate.plan === 'backend trickles') trickle(socket, bytes);
  else socket.end(bytes);
}

/** Compares everything that arrives with the expected bytes, until the socket is closed. */
function watch(socket, expected, { breaksAt, slow }) {
  /** @type {Seen} */
  const seen = { received: 0, wrongAt: undefined, ended: false };
  socket.on('error', ({ code }) => (seen.error = code));
  socket.on('data', (chunk) => {
    if (!chunk.equals(expected(seen.received, chunk.length))) seen.wrongAt ??= seen.received;
    seen.received += chunk.length;
    if (seen.received >= breaksAt) socket.resetAndDestroy();
    else if (slow) {
      socket.pause();
      setTimeout(() => socket.resume(), SLOW_MS);
    }
  });
  socket.on('end', () => {
    seen.ended = true;
    // The other side has ended without sending what was expected: it had no descriptor, or could not connect.
    if (breaksAt < Infinity) socket.destroy();
  });
  return new Promise((resolve) => socket.once('close', () => resolve(seen)));
}

/** Writes in a few unequal pieces, with a pause between them. */
function trickle(socket, bytes) {
  const next = (from, length) => {
    if (socket.destroyed) return;
    if (from + length >= bytes.length) {
      socket.end(bytes.subarray(from));
      return;
    }
    socket.write(bytes.subarray(from, from + length));
    setTimeout(() => next(from + length, length * 5), SLOW_MS);
  };
  next(0, 7);
}

const SLOW_MS = 1;
