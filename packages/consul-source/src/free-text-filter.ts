/**
 * Replaces the values of some fields in streamed JSON with `""`: the output of a check is free text of up to 4 KiB,
 * makes up most of a response about thousands of services, and is not needed for routing.
 *
 * Looks only at strings and the colons between them, and passes invalid JSON through unchanged.
 */
export class FreeTextFilter {
  readonly #fields: ReadonlySet<string>;
  #isInside = false;
  #isDropping = false;
  /** The previous chunk ended in a backslash that escapes the next character. */
  #isEscaped = false;
  /** The last string, while it may be a field name. */
  #token = '';
  #afterColon = false;

  /** @param fields names of at most eight ASCII letters */
  constructor(fields: readonly string[]) {
    this.#fields = new Set(fields);
  }

  /** Returns the filtered `chunk`, without changing the input. */
  filter(chunk: Uint8Array): readonly Uint8Array[] {
    const kept: Uint8Array[] = [];
    for (let at = 0; at < chunk.length;) {
      const wasDropping = this.#isDropping;
      const end = this.#isInside ? this.#endOfString(chunk, at) : this.#beginOfString(chunk, at);
      if (!wasDropping) kept.push(chunk.subarray(at, end));
      // Keeps the closing quote of a dropped value.
      else if (!this.#isInside) kept.push(chunk.subarray(end - 1, end));
      at = end;
    }
    return kept;
  }

  /** Returns the index after the next opening quote, or the end of the chunk. */
  #beginOfString(chunk: Uint8Array, from: number): number {
    for (let at = from; at < chunk.length; at += 1) {
      const byte = chunk[at];
      if (byte === QUOTE) {
        this.#isInside = true;
        this.#isDropping = this.#afterColon && this.#fields.has(this.#token);
        this.#token = '';
        this.#afterColon = false;
        return at + 1;
      }
      if (byte === COLON) this.#afterColon = true;
      else if (byte !== undefined && byte > SPACE) this.#afterColon = false;
    }
    return chunk.length;
  }

  /** Returns the index after the closing quote, or the end of the chunk. */
  #endOfString(chunk: Uint8Array, from: number): number {
    for (let at = from; ;) {
      const quote = chunk.indexOf(QUOTE, at);
      const end = quote === -1 ? chunk.length : quote;
      const isEscaped = this.#endsEscaped(chunk, at, end);
      if (quote === -1) {
        this.#isEscaped = isEscaped;
        this.#remember(chunk, from, end);
        return end;
      }
      this.#isEscaped = false;
      at = quote + 1;
      if (isEscaped) continue;
      this.#remember(chunk, from, end);
      this.#isInside = false;
      this.#isDropping = false;
      return at;
    }
  }

  /** Whether an odd number of backslashes precedes `end`. */
  #endsEscaped(chunk: Uint8Array, from: number, end: number): boolean {
    let at = end;
    while (at > from && chunk[at - 1] === BACKSLASH) at -= 1;
    const count = end - at + (at === from && this.#isEscaped ? 1 : 0);
    return count % 2 === 1;
  }

  #remember(chunk: Uint8Array, from: number, end: number): void {
    const isName = !this.#isDropping && this.#token.length + end - from <= LONGEST_NAME;
    this.#token = isName ? this.#token + String.fromCharCode(...chunk.subarray(from, end)) : NO_NAME;
  }
}

const QUOTE = 0x22;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const SPACE = 0x20;
const LONGEST_NAME = 8;
const NO_NAME = 'too long for a name';
