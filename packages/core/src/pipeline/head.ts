/**
 * Bytes received so far and not consumed. One read is passed on as it came; more are gathered in a buffer that doubles, so that
 * work is linear however small the pieces.
 */
export class Head {
  #buffer: Uint8Array = NOTHING;
  /** Whether the buffer was made here: that of a read may be shared with others beyond the bytes read. */
  #isOwn = false;
  #start = 0;
  #end = 0;
  /** Bytes received, those consumed included. */
  total = 0;

  /** How many bytes are there. */
  get length(): number {
    return this.#end - this.#start;
  }

  /** All of them: a view, of use until the next {@link append}. */
  get bytes(): Uint8Array {
    return this.#buffer.subarray(this.#start, this.#end);
  }

  /** Adds `bytes`, which belong to the head from then on. */
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

  /** Takes the first `count` bytes away. */
  consume(count: number): void {
    if (!(count >= 0 && count <= this.length))
      throw new RangeError(`expected to consume at most ${this.length} bytes, found ${count}`);
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

// A hello that comes in pieces is most often a post-quantum one of under 2 KiB.
const SMALLEST_BUFFER_BYTES = 4096;
