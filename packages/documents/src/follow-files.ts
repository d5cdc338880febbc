import { ConfigProblems, formatProblem, type Problem, type RouteSource } from '@meshgate/core';
import { answered, errorOf, failed, NO_READING, onAbort, type Reading } from '@meshgate/core/parts';
import { digestOf } from './files.ts';
import { FolderWatchers, type Unwatched } from './folder-watchers.ts';
import type { WatchStep } from './watch-path.ts';
import { Debouncer } from './debouncer.ts';

/** A value that is read from one or more files. */
export interface FileSubject<Read extends { readonly digest: string }, Value> {
  /** Name of the value in messages: `routes`. */
  readonly what: string;
  /** Returns every directory entry on the path to the files, including links. */
  watchPath(): Promise<readonly WatchStep[]>;
  /** Reads the bytes. Equal digests mean unchanged contents, which are not parsed again. */
  read(): Promise<Read>;
  /** Parses the value. Rejects when `signal` aborts. */
  parse(read: Read, signal: AbortSignal): Promise<ParseOutcome<Value>>;
}

/** The result of parsing files. */
export type ParseOutcome<Value> =
  | { readonly kind: 'good'; readonly value: Value }
  /** There are problems, but `value` can be used, which may include earlier good data. Ignored at the first reading. */
  | {
      readonly kind: 'partial';
      readonly value: Value;
      readonly problems: readonly Problem[];
      /** Messages about the part in use. */
      readonly notes: readonly string[];
    }
  /** The previous value remains in use. */
  | { readonly kind: 'wrong'; readonly problems: readonly Problem[] };

/** The value at one moment. */
export interface FollowedValue<Value> {
  /** Equal versions mean an equal value and equal warnings. */
  readonly version: string;
  /** The last value without problems, or the usable part of a later one. */
  readonly value: Value;
  /** Time of the last reading without problems; absent while the value is current. */
  readonly asOf?: Date;
  /** Current problems; absent when there are none. */
  readonly warnings?: readonly string[];
}

/** Settings of {@link followFiles}. */
export interface FollowOptions {
  /** Poll interval in milliseconds; 0 for never. {@link DEFAULT_POLL_MS} when absent. */
  readonly pollMs?: number;
}

/** Follows a subject for any number of concurrent watchers. */
export interface FileFollower<Value> {
  /**
   * Yields the value once it is known, then at each change. Throws `ConfigProblems` only when the first reading is
   * invalid.
   */
  watch(signal: AbortSignal): AsyncGenerator<FollowedValue<Value>, void, void>;
  /** Reads the files again now, or at the end of a burst of writes. An unchanged value is not yielded again. */
  refresh(): void;
}

/** A route source that can read its files again on request. */
export interface FileSource extends RouteSource {
  /** Reads the files again now, or at the end of a burst of writes. An unchanged value is not yielded again. */
  refresh(): void;
}

/** Long enough to cost nothing measurable, short enough for an operator waiting for a change. */
export const DEFAULT_POLL_MS = 30_000;

/**
 * Follows files through every kind of change. While they are invalid or missing, the last good value remains in use.
 */
export function followFiles<Read extends { readonly digest: string }, Value>(
  subject: FileSubject<Read, Value>,
  { pollMs = DEFAULT_POLL_MS }: FollowOptions,
): FileFollower<Value> {
  const running = new Set<Debouncer>();
  return { watch, refresh };

  function refresh(): void {
    for (const debouncer of running) debouncer.flush();
  }

  async function* watch(signal: AbortSignal): AsyncGenerator<FollowedValue<Value>, void, void> {
    const debouncer = new Debouncer({ quietMs: QUIET_MS, burstMs: BURST_MS, pollMs });
    const watchers = new FolderWatchers(() => debouncer.note());
    const release = onAbort(signal, () => watchers.close());
    running.add(debouncer);
    try {
      for (let last: Round<Value> | undefined; !signal.aborted; await debouncer.next(signal)) {
        const next = await look(subject, await watchPath(subject, watchers), last, signal);
        if (next.shown.version !== last?.shown.version) yield next.shown;
        last = next;
      }
    } catch (reason) {
      if (!signal.aborted) throw reason;
    } finally {
      release();
      watchers.close();
      running.delete(debouncer);
    }
  }
}

/** Editors and `cp` take less time than this between truncating and writing a file. */
const QUIET_MS = 50;

/** A folder with continuous writes is still read once a second. */
const BURST_MS = 1_000;

/** The result of one check. */
interface Round<Value> {
  /** Digest of the files; when unchanged, nothing is parsed. */
  readonly digest: string;
  /** The value in use, and the digest of its files as version. */
  readonly reading: Reading<Pick<FollowedValue<Value>, 'version' | 'value'>>;
  /** The value in use, with current problems. */
  readonly shown: FollowedValue<Value>;
}

/**
 * Checks the files once.
 *
 * @throws ConfigProblems while no valid value has been read; another error when `signal` aborts
 */
async function look<Read extends { readonly digest: string }, Value>(
  subject: FileSubject<Read, Value>,
  warnings: readonly string[],
  last: Round<Value> | undefined,
  signal: AbortSignal,
): Promise<Round<Value>> {
  const read = await subject.read();
  const digest = digestOf([read.digest, ...warnings]);
  if (digest === last?.digest) return { ...last, reading: confirmed(last.reading) };
  const outcome = await subject.parse(read, signal);
  signal.throwIfAborted();
  const { reading, notes } = judged(outcome, read.digest, last?.reading ?? NO_READING, subject.what);
  if (reading.value === undefined) throw errorOf(reading.error);
  const { value, asOf, state } = reading;
  const shown = withWarnings(value, [...notes, ...warnings]);
  return { digest, reading, shown: state === 'current' || asOf === undefined ? shown : { ...shown, asOf } };
}

type FileReading<Value> = Round<Value>['reading'];

/** Renews the time of a valid reading whose files are unchanged. */
function confirmed<Value>(reading: FileReading<Value>): FileReading<Value> {
  return reading.state === 'current' && reading.value !== undefined ? answered(reading, reading.value) : reading;
}

/** Combines the result of parsing with the previous reading. */
function judged<Value>(
  outcome: ParseOutcome<Value>,
  version: string,
  before: FileReading<Value>,
  what: string,
): { readonly reading: FileReading<Value>; readonly notes: readonly string[] } {
  if (outcome.kind === 'good') return { reading: answered(before, { version, value: outcome.value }), notes: [] };
  const few = firstOf(outcome.problems);
  const problems = few.map(formatProblem);
  if (outcome.kind === 'partial' && before.value !== undefined)
    return {
      reading: answered(before, { version, value: outcome.value }, before.asOf),
      notes: [...problems, ...outcome.notes],
    };
  const lastGood = `the last good ${what} stay in use until the problems above are fixed`;
  return { reading: failed(before, new ConfigProblems(few)), notes: [...problems, lastGood] };
}

/** Limits the problems: a file of another format may have one in each line. */
function firstOf(problems: readonly Problem[]): readonly Problem[] {
  const more = problems.length - MAX_PROBLEMS;
  if (more <= 0) return problems;
  return [...problems.slice(0, MAX_PROBLEMS), { message: `and ${more} more problems`, path: [] }];
}

const MAX_PROBLEMS = 20;

function withWarnings<Value>(
  used: Pick<FollowedValue<Value>, 'version' | 'value'>,
  warnings: readonly string[],
): FollowedValue<Value> {
  if (warnings.length === 0) return used;
  return { ...used, version: `${used.version}+${digestOf(warnings)}`, warnings };
}

/** If the path changes more often while its watchers are set up, the events of the next check detect it. */
const MAX_WALKS = 5;

/** Watches every directory entry on the path before the files are read, so that any later change is reported. */
async function watchPath(
  subject: { watchPath(): Promise<readonly WatchStep[]> },
  watchers: FolderWatchers,
): Promise<readonly string[]> {
  let path = await subject.watchPath();
  let unwatched: readonly Unwatched[] = [];
  for (let walks = 1; walks <= MAX_WALKS; walks += 1) {
    unwatched = watchers.set(path);
    const now = await subject.watchPath();
    if (JSON.stringify(now) === JSON.stringify(path)) break;
    path = now;
  }
  return unwatched.filter(({ code }) => !EXPECTED_CODES.has(code)).map(toWarning);
}

/**
 * The folder has been removed, which the next check notices; or it has search but no read permission, such as another
 * user's.
 */
const EXPECTED_CODES: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM']);

function toWarning({ folder, code }: Unwatched): string {
  return `changes in ${folder} are not reported by the system (${code}): detecting them by polling`;
}
