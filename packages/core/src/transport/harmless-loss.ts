import type { Progress } from './transport.ts';

/**
 * Whether it takes nothing away from anybody that a side is lost which has finished sending: the client has had a response, and since that
 * end no more has been sent to the lost side than it takes to close TLS. A peer that closes its socket at once, as `curl` does, resets
 * the connection as soon as that arrives.
 *
 * @param atEnd what had been carried when the side finished
 */
export function isHarmlessLoss(now: Carried, atEnd: Carried): boolean {
  const since = now.bytesUp + now.bytesDown - atEnd.bytesUp - atEnd.bytesDown;
  return atEnd.bytesDown > 0 && since <= CLOSING_BYTES;
}

/** Bytes both ways. */
export type Carried = Pick<Progress, 'bytesUp' | 'bytesDown'>;

/** An alert close_notify, and two session tickets that are still on their way (RFC 8446, sections 4.6.1 and 6.1). */
const CLOSING_BYTES = 1024;
