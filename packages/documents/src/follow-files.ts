import { ConfigProblems, formatProblem, type Problem, type RouteSource } from '@meshgate/core';
import { digestOf } from './files.ts';
import { FolderWatchers, type Unwatched } from './folder-watchers.ts';
import type { WatchStep } from './watch-path.ts';
import { Debouncer } from './debouncer.ts';

/** Something that is read from files, however many. */
export interface FileSubject<Read extends { readonly digest: string }, Value> {
  /** What it is, for people: `routes`. */
  readonly what: string;
  /** Every name that decides what stands where it is read. */
  watchPath(): Promise<readonly WatchStep[]>;
  /** The bytes. Equal digests mean that there is nothing to parse. */
  read(): Promise<Read>;
  /** What was read, as a value. Rejects when `signal` aborts. */
  parse(read: Read, signal: AbortSignal): Promise<Outcome<Value>>;
}

/** What became of files that were read. */
export type Outcome<Value> =
  | { readonly kind: 'good'; readonly value: Value }
  /** Something is wrong, and `value` is what can be used in spite of it, with what was good before. Of a first reading it is not used. */
  | {
      readonly kind: 'partial';
      readonly value: Value;
      readonly problems: readonly Problem[];
      /** For people: what of it is used. */
      readonly notes: readonly string[];
    }
  /** The value before stays in use. */
  | { readonly kind: 'wrong'; readonly problems: readonly Problem[] };

/** What is known at one moment. */
export interface FollowedValue<Value> {
  /** Equal versions mean an equal value and equal warnings. */
  readonly version: string;
  /** The last one that had no problem, or what is used of a later one. */
  readonly value: Value;
  /** When it was last read without a problem, if there is one now. */
  readonly asOf?: Date;
  /** What is wrong at the moment. Absent when nothing is. */
  readonly warnings?: readonly string[];
}

/** Settings of {@link followFiles}. */
export interface FollowOptions {
  /** Milliseconds between two looks when the system reports no change; 0 for never. {@link DEFAULT_POLL_MS} when absent. */
  readonly pollMs?: number;
}

/** Follows a subject, for any number of watchers at a time. */
export interface Follower<Value> {
  /** Yields the value once when first known, then at each change. Throws `ConfigProblems` only when the first reading is wrong. */
  watch(signal: AbortSignal): AsyncGenerator<FollowedValue<Value>, void, void>;
  /** Reads the files again now, or when they are no longer being written; what is unchanged is not yielded again. */
  refresh(): void;
}

/** A route source that can be told to look at its files. */
export interface FileSource extends RouteSource {
  /** Reads the files again now, or when they are no longer being written; what is unchanged is not yielded again. */
  refresh(): void;
}

/** Rare enough that reading the files again costs nothing that shows; soon enough for somebody who waits for it. */
export const DEFAULT_POLL_MS = 30_000;

/** Follows files while they change, in whichever way. While they are wrong or missing, the last good value stays. */
export function followFiles<Read extends { readonly digest: string }, Value>(
  subject: FileSubject<Read, Value>,
  { pollMs = DEFAULT_POLL_MS }: FollowOptions,
): Follower<Value> {
  const running = new Set<Debouncer>();
  return { watch, refresh };

  function refresh(): void {
    for (const debouncer of running) debouncer.flush();
  }

  async function* watch(signal: AbortSignal): AsyncGenerator<FollowedValue<Value>, void, void> {
    const debouncer = new Debouncer({ quietMs: QUIET_MS, burstMs: BURST_MS, pollMs });
    const watchers = new FolderWatchers(() => debouncer.note());
    const close = (): void => {
      watchers.close();
      debouncer.close();
      running.delete(debouncer);
    };
    signal.addEventListener('abort', close, { once: true });
    running.add(debouncer);
    try {
      for (let last: Reading<Value> | undefined; !signal.aborted; await debouncer.next()) {
        const next = await look(subject, await watchPath(subject, watchers), last, signal);
        if (next.told.version !== last?.told.version) yield next.told;
        last = next;
      }
    } catch (reason) {
      if (!signal.aborted) throw reason;
    } finally {
      signal.removeEventListener('abort', close);
      close();
    }
  }
}

/** Editors and `cp` pause for less than this between truncating a file and having written it. */
const QUIET_MS = 50;

/** A folder in which something is always being written is still read once a second. */
const BURST_MS = 1_000;

/** What a round has found. */
interface Reading<Value> {
  /** Of what was read: when it has not changed, there is nothing to parse. */
  readonly digest: string;
  /** The value in use, without warnings. */
  readonly used: FollowedValue<Value>;
  /** `used`, or with warnings. */
  readonly told: FollowedValue<Value>;
  /** When there was last no problem. */
  readonly goodAt: Date;
}

/** @throws ConfigProblems when nothing good was read before, and something else when `signal` aborts */
async function look<Read extends { readonly digest: string }, Value>(
  subject: FileSubject<Read, Value>,
  warnings: readonly string[],
  last: Reading<Value> | undefined,
  signal: AbortSignal,
): Promise<Reading<Value>> {
  const now = new Date();
  const read = await subject.read();
  const digest = digestOf([read.digest, ...warnings]);
  if (digest === last?.digest) return last.told.asOf === undefined ? { ...last, goodAt: now } : last;
  const outcome = await subject.parse(read, signal);
  signal.throwIfAborted();
  if (outcome.kind === 'good') {
    const used = { version: read.digest, value: outcome.value };
    return { digest, used, told: withWarnings(used, warnings), goodAt: now };
  }
  const { problems } = outcome;
  if (last === undefined) throw new ConfigProblems(problems);
  const { goodAt } = last;
  const used = outcome.kind === 'partial' ? { version: read.digest, value: outcome.value } : last.used;
  const notes = outcome.kind === 'partial' ? outcome.notes : [lastGood(subject.what)];
  const told = withWarnings(used, [...problems.map(formatProblem), ...notes, ...warnings]);
  return { digest, used, told: { ...told, asOf: goodAt }, goodAt };
}

function lastGood(what: string): string {
  return `the ${what} in use are the last good ones, until the problems above are mended`;
}

function withWarnings<Value>(used: FollowedValue<Value>, warnings: readonly string[]): FollowedValue<Value> {
  if (warnings.length === 0) return used;
  return { ...used, version: `${used.version}+${digestOf(warnings)}`, warnings };
}

/** A path that changes more often than this while it is being watched is caught by the events of the next round. */
const MAX_WALKS = 5;

/** Watches all that decides what stands there, before it is read: what changes later is then heard of. */
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

/** Gone in between: the next round sees it. And folders that may be passed but not read, such as a parent of somebody else's. */
const EXPECTED_CODES: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM']);

function toWarning({ folder, code }: Unwatched): string {
  return `changes in ${folder} are not reported by the system (${code}): they are noticed by polling only`;
}
