// What happens to each connection, and its bytes: a function of the seed and of its number, so that every process of a
// soak can compute both.
import { createHash } from 'node:crypto';

/** Plans in which all bytes must arrive, both ways, followed by the end of the stream. */
const COMPLETE = [
  'both at once',
  'client finishes first',
  'backend finishes first',
  'slow client',
  'slow backend',
  'client trickles',
  'backend trickles',
];

/** Plans in which the connection is aborted: what arrives must be correct. */
const BROKEN = ['client resets', 'backend resets', 'client leaves at once', 'cut', 'nobody there'];

const PLANS = [...COMPLETE, ...BROKEN];

/** The number of a connection, before its bytes. */
export const HEADER_BYTES = 4;

/** Sizes up to this, small ones as likely as large ones. */
const MOST_BYTES = 2 ** 20;

/**
 * @typedef {object} Fate
 * @property {number} number
 * @property {string} plan
 * @property {boolean} complete
 * @property {number} upBytes without the header
 * @property {number} downBytes
 * @property {number} breaksAt after how many bytes it is reset or cut
 */

/**
 * @param {string} seed
 * @returns {{ draw(number: number): Fate, up(fate: Fate, from: number, length: number): Buffer, down(fate: Fate, from:
 * number, length: number): Buffer }}
 */
export function fatesOf(seed) {
  // Both ends take their bytes from here, each connection at another offset, so that a misplaced byte is a wrong byte.
  // Twice in a row, so that any range of it is contiguous.
  const once = createHash('shake256', { outputLength: MOST_BYTES + 7 })
    .update(seed)
    .digest();
  const twice = Buffer.concat([once, once]);
  const stretch = (start, length) => twice.subarray(start % once.length, (start % once.length) + length);
  return { draw, up, down };

  function draw(number) {
    const drawn = createHash('sha256').update(`${seed} ${number}`).digest();
    const share = (at) => drawn.readUInt32BE(at) / 2 ** 32;
    const size = (at) => Math.floor(MOST_BYTES ** share(at));
    const plan = PLANS[drawn.readUInt32BE(0) % PLANS.length] ?? '';
    const [upBytes, downBytes] = [size(4), size(8)];
    const breaksAt = Math.floor(share(12) * Math.min(upBytes, downBytes));
    return { number, plan, complete: COMPLETE.includes(plan), upBytes, downBytes, breaksAt };
  }

  function up({ number }, from, length) {
    return stretch(number * 17 + from, length);
  }

  function down({ number }, from, length) {
    return stretch(number * 31 + from, length);
  }
}
