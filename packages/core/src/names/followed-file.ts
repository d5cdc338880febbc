import { stat } from 'node:fs/promises';
import { systemCode } from '../errors.ts';
import { readRegularFile } from '../regular-file.ts';
import { Refreshed } from '../watch/refreshed.ts';

/**
 * A small system file that is loaded again when it has changed. A missing file counts as empty, as in the C library; if
 * it cannot be read, the former content stays.
 */
export class FollowedFile<T> {
  readonly #path: string;
  readonly #parse: (text: string) => T;
  readonly #content: Refreshed<T>;

  constructor(path: string, parse: (text: string) => T) {
    this.#path = path;
    this.#parse = parse;
    this.#content = new Refreshed(async () => {
      const stamp = await stampOf(path);
      return { stamp, load: async () => parse(stamp === MISSING ? '' : await readRegularFile(path, ANY_COMMENTS)) };
    });
  }

  /** The parsed content of the last successful load; that of an empty file before. */
  get value(): T {
    return this.#content.reading.value ?? this.#parse('');
  }

  /** Why its current content is not in use; `undefined` while it is. */
  get trouble(): string | undefined {
    const { state, error } = this.#content.reading;
    return state === 'failing' ? `${this.#path} cannot be read: ${error?.message ?? ''}` : undefined;
  }

  /** Increases with each change. */
  get version(): number {
    return this.#content.version;
  }

  /** Checks the file for changes. Never rejects. */
  async refresh(): Promise<void> {
    await this.#content.refresh();
  }
}

const MISSING = '';

/** The C library skips comments in any encoding. */
const ANY_COMMENTS = { otherBytes: 'replace' } as const;

/** Returns a stamp that changes when the file is written or replaced, even with the same size within a clock tick. */
async function stampOf(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
  } catch (reason) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(reason) ?? '')) return MISSING;
    throw reason;
  }
}
