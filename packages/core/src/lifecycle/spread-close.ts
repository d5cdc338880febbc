import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ProxyError } from '../errors.ts';
import type { Session } from '../pipeline/session.ts';
import { pause } from '../watch/scope.ts';

/** The part of a session that {@link closeSpread} uses. */
export type Closable = Pick<Session, 'cut' | 'lastByteAt'>;

/** Options of {@link closeSpread}. */
export interface SpreadCloseOptions<S extends Closable> {
  /** Time from the first close to the last, in milliseconds. */
  readonly spreadMs: number;
  /** Aborts the spread: the remaining sessions are closed at once. */
  readonly signal: AbortSignal;
  /** Returns the reason for closing a session, or `undefined` to keep it open. Called when its turn comes. */
  reasonOf(session: S): ProxyError | undefined;
  /** Called for each session that was closed. */
  onClosed?(): void;
}

// Short enough not to delay the remaining connections, long enough to close 50,000 within seconds.
const TURN_MS = 10;
const TICK_MS = 5;

/** Closes `sessions` spread over time, the longest idle first, since they lose least. */
export async function closeSpread<S extends Closable>(
  sessions: Iterable<S>,
  { spreadMs, signal, reasonOf, onClosed }: SpreadCloseOptions<S>,
): Promise<void> {
  const rest = silentLongestFirst(sessions);
  const start = performance.now();
  let next = 0;
  while (next < rest.length) {
    const due = signal.aborted ? rest.length : dueAfter(performance.now() - start, spreadMs, rest.length);
    const turnEndsAt = performance.now() + TURN_MS;
    for (; next < due && performance.now() < turnEndsAt; next += 1) {
      const session = rest[next];
      const reason = session && reasonOf(session);
      if (reason !== undefined && session?.cut(reason) === true) onClosed?.();
    }
    if (next < due) await nextTurn();
    else if (next < rest.length) await pause(TICK_MS, signal);
  }
}

/**
 * Number of sessions, of `count`, that are due after `elapsedMs`: the first at once, the last at the end of the spread.
 */
function dueAfter(elapsedMs: number, spreadMs: number, count: number): number {
  return elapsedMs >= spreadMs ? count : Math.min(count, 1 + Math.floor((elapsedMs / spreadMs) * count));
}

/**
 * Sorts the sessions by the time of their last byte. Numbers sort many times faster than objects, so each key holds
 * both the time and the index; sorting 50,000 objects would take a whole turn of the event loop.
 */
function silentLongestFirst<S extends Closable>(sessions: Iterable<S>): readonly S[] {
  const all = Array.from(sessions);
  const lastByteAt = all.map((session) => session.lastByteAt);
  const first = lastByteAt.reduce((least, at) => Math.min(least, at), Infinity);
  const last = lastByteAt.reduce((most, at) => Math.max(most, at), -Infinity);
  // In units of a microsecond, or coarser if very many sessions span very many days, so that keys remain exact
  // integers.
  const stepsPerMs = Math.min(1_000, Number.MAX_SAFE_INTEGER / (all.length * (last - first + 1)));
  const keys = Float64Array.from(
    lastByteAt,
    (at, index) => Math.floor((at - first) * stepsPerMs) * all.length + index,
  ).sort();
  return Array.from(keys, (key) => all[key % all.length]).filter((session) => session !== undefined);
}
