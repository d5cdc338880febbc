import type { Dispatcher } from 'undici';
import { FreeTextFilter } from './free-text-filter.ts';

/** How to read a response body. */
export interface ReadOptions {
  /** Time limit for the whole body, in milliseconds. */
  readonly patienceMs: number;
  /** Names of fields whose values are dropped, see {@link FreeTextFilter}; they count only towards the time limit. */
  readonly without: readonly string[];
}

/** The body of a response. */
export interface Body {
  /** The text without the dropped fields. */
  readonly text: string;
  /** Size of the complete body in bytes. */
  readonly bytes: number;
}

/**
 * Reads the response bodies of one agent within limits, so that no server at its address can exhaust the memory or keep
 * a request open forever.
 */
export class ResponseReader {
  #inFlightBytes = 0;

  /**
   * Reads the body of `response`; without status 200, only the first few KiB.
   *
   * @throws Error when the body is too long or takes too long, and closes the connection
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
// Five times the response for 5,000 services: a larger response does not come from a Consul agent.
const MAX_RESPONSE_BYTES = 64 * MIB;
// Two responses of maximum size: the process that holds them may have little memory.
const MAX_IN_FLIGHT_BYTES = 2 * MAX_RESPONSE_BYTES;
// The agent's own error messages are shorter.
const COMPLAINT_BYTES = 4096;

function tooLong(what: string, maxBytes: number): Error {
  return new Error(`expected ${what} of at most ${maxBytes / MIB} MiB, found a larger one`);
}

function tooSlow(patienceMs: number): Error {
  return new Error(`expected the complete response within ${patienceMs} ms`);
}
