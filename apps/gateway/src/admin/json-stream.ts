import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { printableJson } from '../log/printable.ts';

/**
 * Writes `value` as JSON in pieces that yield to the event loop, so that a response of 100,000 routes does not delay
 * connections. Iterable members other than strings become lists, and are iterated while they are written.
 */
export function jsonStream(value: object): Readable {
  return Readable.from(inTurns(document(value)), { objectMode: false });
}

/** Number of list items per turn of the event loop: well below a millisecond. */
const ITEMS_PER_PIECE = 100;

async function* inTurns(pieces: Iterable<string>): AsyncGenerator<string> {
  for (const piece of pieces) {
    // Indented, since `curl` prints it as it is.
    yield printableJson(piece);
    await nextTurn();
  }
}

function* document(value: object): Generator<string> {
  let separator = '{';
  for (const [key, member] of Object.entries(value)) {
    const start = `${separator}${JSON.stringify(key)}:`;
    if (isIterable(member)) yield* list(start, member);
    else yield `${start}${JSON.stringify(member)}`;
    separator = ',';
  }
  yield separator === '{' ? '{}\n' : '}\n';
}

function* list(start: string, items: Iterable<unknown>): Generator<string> {
  let piece = `${start}[`;
  let count = 0;
  for (const item of items) {
    piece += `${count === 0 ? '' : ','}${JSON.stringify(item)}`;
    count += 1;
    if (count % ITEMS_PER_PIECE > 0) continue;
    yield piece;
    piece = '';
  }
  yield `${piece}]`;
}

function isIterable(value: unknown): value is Iterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.iterator in value;
}
