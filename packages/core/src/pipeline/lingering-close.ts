import { settlesWithin } from '../watch/scope.ts';
import type { Connection } from '../transport/transport.ts';
import { destroyQuietly } from './connecting.ts';

/**
 * Closes connections whose client has just been sent rejection bytes. Closing a socket with unread bytes resets it, and
 * a reset discards data that the client has not read yet: it would not see the alert, and retry endlessly. So the bytes
 * that it still sends are read and dropped for a moment (RFC 9112, section 9.6). The number is bounded: in a flood,
 * connections are closed at once.
 */
export class LingeringClose {
  #count = 0;

  /** Takes ownership of `connection` and closes it. Never throws. */
  close(connection: Connection): void {
    if (this.#count >= MAX_LINGERING) destroyQuietly(connection);
    else void this.#linger(connection);
  }

  async #linger(connection: Connection): Promise<void> {
    this.#count += 1;
    await settlesWithin(drop(connection), LINGER_MS);
    destroyQuietly(connection);
    this.#count -= 1;
  }
}

/** Reads until the client closes, as it does after an alert, or has sent more than is worth reading. */
async function drop(connection: Connection): Promise<void> {
  connection.onReset = undefined;
  for (let dropped = 0; dropped < MAX_DROPPED_BYTES;) {
    const bytes = await connection.read();
    if (bytes === undefined) return;
    dropped += bytes.length;
  }
}

/** An intercontinental round trip. */
const LINGER_MS = 200;
/** Data in flight within that time: early data, a pipelined request. */
const MAX_DROPPED_BYTES = 256 * 1024;
/** Bounds the file descriptors, which no limit counts. */
const MAX_LINGERING = 128;
