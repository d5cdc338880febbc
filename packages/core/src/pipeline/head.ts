/**
 * Bytes received and not consumed. A single read is passed on without a copy; further reads are gathered in a buffer
 * that doubles, so that the work is linear however small the pieces.
 */
export class Head {
  #buffer: Uint8Array = NOTHING;
  /** Whether this object allocated the buffer; otherwise the memory behind the read may be shared. */
  #isOwn = false;
  #start = 0;
  #end = 0;
  /** Number of bytes received, including consumed ones. */
  total = 0;

  /** Number of bytes available. */
  get length(): number {
    return this.#end - this.#start;
  }

  /** All available bytes: a view that is valid until the next {@link append}. */
  get bytes(): Uint8Array {
    return this.#buffer.subarray(this.#start, this.#end);
  }

  /** Appends `bytes`, and takes ownership of them. */
  append(bytes: Uint8Array): void {
    this.total += bytes.length;
    if (this.length > 0) {
      this.#copy(bytes);
      return;
    }
    this.#buffer = bytes;
    this.#isOwn = false;
    this.#start = 0;
    this.#end = bytes.length;
  }

  /** Removes the first `count` bytes. */
  consume(count: number): void {
    if (!Number.isInteger(count) || count < 0 || count > this.length)
      throw new RangeError(`expected to consume 0 to ${this.length} bytes, found ${count}`);
    this.#start += count;
  }

  #copy(bytes: Uint8Array): void {
    const { length } = this;
    if (!this.#isOwn || this.#buffer.length - this.#end < bytes.length) {
      const larger = new Uint8Array(Math.max(SMALLEST_BUFFER_BYTES, 2 * (length + bytes.length)));
      larger.set(this.bytes);
      this.#buffer = larger;
      this.#isOwn = true;
      this.#start = 0;
      this.#end = length;
    }
    this.#buffer.set(bytes, this.#end);
    this.#end += bytes.length;
  }
}

const NOTHING = new Uint8Array(0);

// Most hellos that arrive in pieces are post-quantum ones of less than 2 KiB.
const SMALLEST_BUFFER_BYTES = 4096;
