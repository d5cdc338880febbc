import { stat } from 'node:fs/promises';
import { errorOf } from '../errors.ts';
import { readRegularFile } from '../regular-file.ts';
import { answered, failed, NO_READING } from '../watch/reading.ts';
import type { Reading } from '../watch/reading.ts';

/**
 * A small system file that is read again when it has changed. One that is missing is an empty one, as it is to the C library; one that
 * cannot be read leaves what it held before.
 */
export class FollowedFile<T> {
  readonly #path: string;
  readonly #parse: (text: string) => T;
  /** Of what was read last. */
  #stamp: string | undefined;
  #reading: Reading<T> = NO_READING;
  #version = 0;
  #refreshing: Promise<void> | undefined;

  constructor(path: string, parse: (text: string) => T) {
    this.#path = path;
    this.#parse = parse;
  }

  /** The value of the last successful reading; that of an empty file before. */
  get value(): T {
    return this.#reading.value ?? this.#parse('');
  }

  /** Grows with each change that was seen. */
  get version(): number {
    return this.#version;
  }

  /** Looks at the file. Never rejects. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#read().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async #read(): Promise<void> {
    try {
      const stamp = await stampOf(this.#path);
      if (stamp === this.#stamp) return;
      const text = stamp === MISSING ? '' : await readRegularFile(this.#path);
      this.#reading = answered(this.#reading, this.#parse(text));
      this.#stamp = stamp;
      this.#version += 1;
    } catch (reason) {
      // A shortage of descriptors, for one, says nothing of the file: it is read again at the next check.
      this.#reading = failed(this.#reading, errorOf(reason));
    }
  }
}

const MISSING = '';

/** Differs when the file has been written to or replaced, also by one of the same size within one tick of the clock. */
async function stampOf(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
  } catch (reason) {
    const code = reason instanceof Error && 'code' in reason ? reason.code : undefined;
    if (code === 'ENOENT' || code === 'ENOTDIR') return MISSING;
    throw reason;
  }
}
