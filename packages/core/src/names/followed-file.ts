import { readFile, stat } from 'node:fs/promises';

/** A small system file that is read again when it has changed. One that is missing or cannot be read is an empty text. */
export class FollowedFile<T> {
  readonly #path: string;
  readonly #parse: (text: string) => T;
  #stamp: string | undefined;
  #value: T;
  #version = 0;
  #refreshing: Promise<void> | undefined;

  constructor(path: string, parse: (text: string) => T) {
    this.#path = path;
    this.#parse = parse;
    this.#value = parse('');
  }

  /** What stood in the file when it was last looked at. */
  get value(): T {
    return this.#value;
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
    const stamp = await stampOf(this.#path);
    if (stamp === this.#stamp) return;
    this.#value = this.#parse(await readFile(this.#path, 'utf8').catch(() => ''));
    this.#stamp = stamp;
    this.#version += 1;
  }
}

/** Differs when the file has been written to or replaced, also by one of the same size within one tick of the clock. */
async function stampOf(path: string): Promise<string> {
  const found = await stat(path, { bigint: true }).catch(() => undefined);
  return found === undefined ? '' : `${found.dev} ${found.ino} ${found.size} ${found.mtimeNs} ${found.ctimeNs}`;
}
