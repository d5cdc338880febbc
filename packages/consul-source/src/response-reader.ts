import type { Dispatcher } from 'undici';
import { FreeTextFilter } from './free-text-filter.ts';

/** How to read a response body. */
export interface ReadOptions {
  /** Time limit for the whole body, in milliseconds. */
  readonly patienceMs: number;
  /** Names of fields whose values are dropped, see {@link FreeTextFilter}: they count towards no limit but time. */
  readonly without: readonly string[];
}

/** A body that was read. */
export interface Body {
  /** The body without the dropped fields. */
  readonly text: string;
  /** Its size as received. */
  readonly bytes: number;
}

/**
 * Reads the response bodies of one agent within limits: whatever listens at its address can neither fill the memory nor keep a request
 * open for ever.
 */
export class ResponseReader {
  #inFlightBytes = 0;

  /**
   * The body of `response`; only its beginning when it is not a success.
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
        if (keptBytes > MAX_RESPONSE_BYTES) throw tooLong('a response', MAX_RESPONSE_BYTES);
        if (this.#inFlightBytes > MAX_IN_FLIGHT_BYTES) throw tooLong('responses in flight', MAX_IN_FLIGHT_BYTES);
      }
      return { text: text + decoder.decode(), bytes };
    } finally {
      clearTimeout(overdue);
      this.#inFlightBytes -= keptBytes;
    }
  }
}

const MIB = 1024 * 1024;
// Five times the response for 5,000 services: nothing that sends more is a Consul agent.
const MAX_RESPONSE_BYTES = 64 * MIB;
// Two of the largest at a time: bodies are held in the memory of a process that may have little of it.
const MAX_IN_FLIGHT_BYTES = 2 * MAX_RESPONSE_BYTES;
// Error messages of the agent itself are shorter.
const COMPLAINT_BYTES = 4096;

function tooLong(what: string, maxBytes: number): Error {
  return new Error(`expected ${what} of at most ${maxBytes / MIB} MiB, found a larger one`);
}

function tooSlow(patienceMs: number): Error {
  return new Error(`expected the complete response within ${patienceMs} ms`);
}
