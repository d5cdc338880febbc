import { stat } from 'node:fs/promises';
import { readRegularFile } from '../regular-file.ts';
import { Refreshed } from '../watch/refreshed.ts';

/**
 * A small system file that is read again when it has changed. One that is missing is an empty one, as it is to the C library; one that
 * cannot be read leaves what it held before.
 */
export class FollowedFile<T> {
  readonly #parse: (text: string) => T;
  readonly #content: Refreshed<T>;

  constructor(path: string, parse: (text: string) => T) {
    this.#parse = parse;
    this.#content = new Refreshed(async () => {
      const stamp = await stampOf(path);
      return { stamp, load: async () => parse(stamp === MISSING ? '' : await readRegularFile(path)) };
    });
  }

  /** The value of the last successful reading; that of an empty file before. */
  get value(): T {
    return this.#content.reading.value ?? this.#parse('');
  }

  /** Grows with each change that was seen. */
  get version(): number {
    return this.#content.version;
  }

  /** Looks at the file. Never rejects. */
  async refresh(): Promise<void> {
    await this.#content.refresh();
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
