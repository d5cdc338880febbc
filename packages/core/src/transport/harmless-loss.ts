import type { Progress } from './transport.ts';

/**
 * Whether the loss of a side that has finished sending is harmless: the client has had a response, and since then no
 * more has been sent to the lost side than it takes to close TLS. A peer that closes its socket at once, as `curl`
 * does, resets the connection when these bytes arrive.
 *
 * @param atEnd bytes carried when the side finished
 */
export function isHarmlessLoss(now: Carried, atEnd: Carried): boolean {
  const since = now.bytesUp + now.bytesDown - atEnd.bytesUp - atEnd.bytesDown;
  return atEnd.bytesDown > 0 && since <= CLOSING_BYTES;
}

/** Bytes in both directions. */
export type Carried = Pick<Progress, 'bytesUp' | 'bytesDown'>;

/** A close_notify alert and two session tickets in flight (RFC 8446, sections 4.6.1 and 6.1). */
const CLOSING_BYTES = 1024;
