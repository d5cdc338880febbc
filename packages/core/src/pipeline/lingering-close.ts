import { settlesWithin } from '../watch/scope.ts';
import type { Connection } from '../transport/transport.ts';
import { destroyQuietly } from './connecting.ts';

/**
 * Closes connections whose client has just been told why it is turned away. To close a socket with bytes unread is to reset it, and a
 * reset throws away what the client has not read yet: it would see no alert, and try again for ever. So what it still sends is read
 * and dropped for a moment (RFC 9112, section 9.6). A bounded number at a time: a flood is closed at once.
 */
export class LingeringClose {
  #count = 0;

  /** Takes `connection` over. Never throws. */
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

/** Until the client has closed, which is what it does after an alert, or has sent more than is worth reading. */
async function drop(connection: Connection): Promise<void> {
  connection.onReset = undefined;
  for (let dropped = 0; dropped < MAX_DROPPED_BYTES;) {
    const bytes = await connection.read();
    if (bytes === undefined) return;
    dropped += bytes.length;
  }
}

/** A round trip between continents. */
const LINGER_MS = 200;
/** What is on its way within that time: early data, a request sent without waiting. */
const MAX_DROPPED_BYTES = 256 * 1024;
/** Descriptors that limits do not count. */
const MAX_LINGERING = 128;
