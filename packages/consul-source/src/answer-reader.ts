import type { Dispatcher } from 'undici';
import { FreeTextFilter } from './free-text-filter.ts';

/** How to read the body of an answer. */
export interface ReadOptions {
  /** How long it may take to its end, in milliseconds. */
  readonly patienceMs: number;
  /** Names of fields whose values are left out, see {@link FreeTextFilter}: they count towards no limit but that of time. */
  readonly without: readonly string[];
}

/** A body that has been read. */
export interface Body {
  /** What is left of it without the fields that were to be left out. */
  readonly text: string;
  /** As it came. */
  readonly bytes: number;
}

/**
 * Reads the bodies of answers, all of one agent, within limits: whatever stands at its address can neither fill the memory nor keep a
 * question open for ever.
 */
export class ResponseReader {
  #inFlightBytes = 0;

  /**
   * The body of `response`; of one that is not what was asked for, its beginning.
   *
   * @throws Error when it is too long or takes too long; the connection is closed then
   */
  async read({ statusCode, body }: Dispatcher.ResponseData, { patienceMs, without }: ReadOptions): Promise<Body> {
    const overdue = setTimeout(() => body.destroy(tooSlow(patienceMs)), patienceMs);
    const decoder = new TextDecoder();
    const filter = without.length === 0 ? undefined : new FreeTextFilter(without);
    let text = '';
    let [bytes, keptBytes] = [0, 0];
    try {
      for await (const chunk of body as AsyncIterable<Uint8Array>) {
        bytes += chunk.length;
        for (const kept of filter?.filter(chunk) ?? [chunk]) {
          keptBytes += kept.length;
          this.#inFlightBytes += kept.length;
          text += decoder.decode(kept, { stream: true });
        }
        if (statusCode !== 200 && bytes >= COMPLAINT_BYTES) break;
        if (keptBytes > MAX_RESPONSE_BYTES) throw tooLong('an answer', MAX_RESPONSE_BYTES);
        if (this.#inFlightBytes > MAX_IN_FLIGHT_BYTES) throw tooLong('answers under way', MAX_IN_FLIGHT_BYTES);
      }
      return { text: text + decoder.decode(), bytes };
    } finally {
      clearTimeout(overdue);
      this.#inFlightBytes -= keptBytes;
    }
  }
}

const MIB = 1024 * 1024;
// Five times the answer of 5,000 services: whoever sends more is not an agent.
const MAX_RESPONSE_BYTES = 64 * MIB;
// Two of the largest at a time: what is read is in the memory of a process that may have little of it.
const MAX_IN_FLIGHT_BYTES = 2 * MAX_RESPONSE_BYTES;
// Of what is wrong, the agent itself says less.
const COMPLAINT_BYTES = 4096;

function tooLong(what: string, maxBytes: number): Error {
  return new Error(`expected ${what} of at most ${maxBytes / MIB} MiB, found more`);
}

function tooSlow(patienceMs: number): Error {
  return new Error(`expected the whole answer within ${patienceMs} ms, found one that goes on`);
}
