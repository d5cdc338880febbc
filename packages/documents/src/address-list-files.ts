import type { Observer, Problem, Service } from '@meshgate/core';
import {
  ADDRESS_OR_BLOCK_FORM,
  AddressSetBuilder,
  inTurns,
  openScope,
  RecentlyUsed,
  Watched,
} from '@meshgate/core/parts';
import type { AddressLists, AddressSet, PreparedChange } from '@meshgate/core/parts';
import { readOneFile } from './files.ts';
import type { FilesRead } from './files.ts';
import { followFiles } from './follow-files.ts';
import type { FollowedValue, ParseOutcome } from './follow-files.ts';
import { watchPathTo } from './watch-path.ts';

/**
 * Address lists in files, one entry per line: `10.0.0.1`, `10.0.0.0/8`, `2001:db8::/32` or `unix`; `#` starts a
 * comment. An empty file is invalid. A file is followed from its first use until one hour after its last. While it is
 * invalid or missing, its last good entries remain in use.
 */
export class AddressListFiles implements AddressLists, Service {
  readonly name = 'address lists';
  readonly #observer: Observer;
  readonly #atStart: readonly string[];
  readonly #files = new RecentlyUsed<FollowedList>({ onForgotten: (file) => void file.close() });
  readonly #scope = openScope();

  /**
   * @param observer receives `service.failed` for an invalid or missing file
   * @param atStart paths of files to read at the start of the service
   */
  constructor(observer: Observer, atStart: readonly string[] = []) {
    this.#observer = observer;
    this.#atStart = atStart;
  }

  /** Current problems of the files, as messages. */
  get warnings(): readonly string[] {
    return this.#files.values.flatMap(({ warnings }) => warnings);
  }

  get(path: string): AddressSet | undefined {
    return this.#files.use(path)?.entries;
  }

  read(path: string): Promise<void> {
    if (this.#scope.signal.aborted) return Promise.resolve();
    const file =
      this.#files.use(path) ?? this.#files.add(path, new FollowedList(path, this.#observer, this.#scope.signal));
    return file.read;
  }

  async start(): Promise<void> {
    await Promise.all(this.#atStart.map((path) => this.read(path)));
  }

  /** Reads the files before rules that name them apply. */
  async prepare(paths: readonly string[]): Promise<PreparedChange> {
    await Promise.all(paths.map((path) => this.read(path)));
    return { commit: () => Promise.resolve(), discard: () => Promise.resolve() };
  }

  async stop(): Promise<void> {
    this.#scope.end();
    await Promise.all(this.#files.values.map((file) => file.close()));
  }
}

/** One followed file. */
class FollowedList {
  /** Resolves after the first reading, successful or not. */
  readonly read: Promise<void>;
  readonly #watched: Watched<FollowedValue<AddressSet>>;

  constructor(path: string, observer: Observer, signal: AbortSignal) {
    let onRead: () => void = () => undefined;
    this.read = new Promise((resolve) => (onRead = resolve));
    const changed = (): void => {
      const { warnings } = this;
      const error = new Error(warnings.join('; '));
      if (warnings.length > 0) observer.observe({ type: 'service.failed', service: 'address lists', error });
      onRead();
    };
    this.#watched = new Watched((inner) => followed(path).watch(inner), { changed, signal });
  }

  get entries(): AddressSet | undefined {
    return this.#watched.reading.value?.value;
  }

  get warnings(): readonly string[] {
    const { error, value } = this.#watched.reading;
    return error === undefined ? (value?.warnings ?? []) : [error.message];
  }

  close(): Promise<void> {
    return this.#watched.end();
  }
}

function followed(path: string): { watch(signal: AbortSignal): AsyncIterable<FollowedValue<AddressSet>> } {
  return followFiles(
    {
      what: 'addresses',
      watchPath: () => watchPathTo(path, NO_ENDINGS),
      read: () => readOneFile(path),
      parse: parseAddressList,
    },
    {},
  );
}

const NO_ENDINGS: readonly string[] = [];

/**
 * Reads a list once, to report its problems before anything starts.
 *
 * @returns a problem with its position for each invalid line; the first hundred
 */
export async function addressListProblems(path: string): Promise<readonly Problem[]> {
  const outcome = await parseAddressList(await readOneFile(path));
  return outcome.kind === 'good' ? [] : outcome.problems;
}

async function parseAddressList({ files, problems }: FilesRead): Promise<ParseOutcome<AddressSet>> {
  if (problems.length > 0) return { kind: 'wrong', problems };
  // An empty file is about to be written, or its download has failed. An intentionally empty list has a comment.
  const empty = files.filter(({ text }) => text.trim() === '');
  if (empty.length > 0) return { kind: 'wrong', problems: empty.map(({ file }) => emptyFile(file)) };
  const builder = new AddressSetBuilder();
  const wrong = await inTurns(readLines(files, builder));
  return wrong.length > 0 ? { kind: 'wrong', problems: wrong } : { kind: 'good', value: builder.build() };
}

function emptyFile(file: string): Problem {
  const message = 'expected addresses, or a comment for none; found an empty file';
  return { message, path: [], at: { file, line: 1, column: 1 } };
}

const LINES_PER_STEP = 1_000;
/** More problems than an operator reads. */
const MAX_PROBLEMS = 100;

function* readLines(files: FilesRead['files'], builder: AddressSetBuilder): Generator<void, readonly Problem[]> {
  const problems: Problem[] = [];
  for (const { file, text } of files) {
    for (const [index, written] of text.split('\n').entries()) {
      if (index % LINES_PER_STEP === LINES_PER_STEP - 1) yield;
      const entry = written.replace(/#.*/, '').trim();
      if (entry === '' || builder.add(entry)) continue;
      const at = { file, line: index + 1, column: written.search(/\S/) + 1 };
      problems.push({
        message: `expected ${ADDRESS_OR_BLOCK_FORM}, found ${JSON.stringify(entry.slice(0, SHOWN_CHARS))}`,
        path: [],
        at,
      });
      if (problems.length === MAX_PROBLEMS) return problems;
    }
  }
  return problems;
}

const SHOWN_CHARS = 80;
