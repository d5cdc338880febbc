import { Buffer } from 'node:buffer';

/**
 * A cursor over a range of bytes. An overrun is a value, not an exception: a read past the end yields zeros, moves to
 * the end, and sets {@link overrun}. Callers therefore check once per structure, and every loop ends.
 */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;
  #overrun = false;

  /**
   * Reads `bytes` from `start` up to, but not including, `end`; never copies. Requires `start <= end <= bytes.length`.
   */
  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#end = end;
    this.#at = start;
  }

  /** Bytes not yet read. */
  get remaining(): number {
    return this.#end - this.#at;
  }

  /** Whether a read went past the end. */
  get overrun(): boolean {
    return this.#overrun;
  }

  /** Reads one byte. */
  uint8(): number {
    return this.#bytes[this.#take(1)] ?? 0;
  }

  /** Reads two bytes, the high one first. */
  uint16(): number {
    const at = this.#take(2);
    return ((this.#bytes[at] ?? 0) << 8) | (this.#bytes[at + 1] ?? 0);
  }

  /** Skips `length` bytes. */
  skip(length: number): void {
    this.#take(length);
  }

  /** Returns the next `length` bytes as a separate reader, which has overrun if there are fewer. */
  part(length: number): ByteReader {
    const start = this.#take(length);
    const part = new ByteReader(this.#bytes, start < 0 ? this.#end : start, this.#at);
    part.#overrun = start < 0;
    return part;
  }

  /** Whether the next bytes are `bytes`. */
  isAt(bytes: Uint8Array): boolean {
    if (bytes.length > this.remaining) return false;
    for (let index = 0; index < bytes.length; index += 1) {
      if (bytes[index] !== this.#bytes[this.#at + index]) return false;
    }
    return true;
  }

  /** Returns a copy of the remaining bytes, without moving. */
  copy(): Uint8Array {
    return new Uint8Array(this.#bytes.subarray(this.#at, this.#end));
  }

  /** Reads the remaining bytes as a string, one character each. */
  text(): string {
    const length = this.remaining;
    const start = this.#take(length);
    if (length <= SHORT_TEXT_BYTES) return this.#spell(start, length);
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + start, length).toString('latin1');
  }

  #spell(start: number, length: number): string {
    let text = '';
    for (let at = start; at < start + length; at++) text += String.fromCharCode(this.#bytes[at] ?? 0);
    return text;
  }

  /** Moves by `length` bytes. @returns their start, or {@link OUTSIDE} if there are fewer */
  #take(length: number): number {
    const start = this.#at;
    if (length > this.#end - start) {
      this.#at = this.#end;
      this.#overrun = true;
      return OUTSIDE;
    }
    this.#at = start + length;
    return start;
  }
}

// Far enough below zero that reads from it are out of range.
const OUTSIDE = -2;

// Measured: up to this length, appending characters is faster than a Buffer. Covers every common ALPN name.
const SHORT_TEXT_BYTES = 12;
