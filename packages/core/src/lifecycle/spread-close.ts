import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ProxyError } from '../errors.ts';
import type { Session } from '../pipeline/session.ts';
import { pause } from '../watch/scope.ts';

/** A session, as far as closing it goes. */
export type Closable = Pick<Session, 'cut' | 'lastByteAt'>;

/** How {@link closeSpread} goes about it. */
export interface SpreadCloseOptions<S extends Closable> {
  /** From the first to the last, in milliseconds. */
  readonly spreadMs: number;
  /** Closes what is left at once. */
  readonly signal: AbortSignal;
  /** Why a session is closed; `undefined`: after all it is not. Asked when its turn comes. */
  reasonOf(session: S): ProxyError | undefined;
  /** Told of each that was closed. */
  onClosed?(): void;
}

// Short enough that the remaining connections do not notice, long enough that 50,000 are closed within seconds.
const TURN_MS = 10;
const TICK_MS = 5;

/** Closes `sessions`, those silent for longest first, since they lose least; each in its slot of the spread. */
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

/** How many of `count` are to be closed by then: the first at once, the last when the spread is over. */
function dueAfter(elapsedMs: number, spreadMs: number, count: number): number {
  return elapsedMs >= spreadMs ? count : Math.min(count, 1 + Math.floor((elapsedMs / spreadMs) * count));
}

/**
 * In an order that takes linear work as near as makes no difference: numbers sort many times faster than objects do, so each is the
 * time and the place in one. A turn of the loop is what sorting objects would take for 50,000.
 */
function silentLongestFirst<S extends Closable>(sessions: Iterable<S>): readonly S[] {
  const all = Array.from(sessions);
  const lastByteAt = all.map((session) => session.lastByteAt);
  const first = lastByteAt.reduce((least, at) => Math.min(least, at), Infinity);
  const last = lastByteAt.reduce((most, at) => Math.max(most, at), -Infinity);
  // As fine as numbers are exact: microseconds, or less fine where there are very many sessions over very many days.
  const stepsPerMs = Math.min(1_000, Number.MAX_SAFE_INTEGER / (all.length * (last - first + 1)));
  const keys = Float64Array.from(
    lastByteAt,
    (at, index) => Math.floor((at - first) * stepsPerMs) * all.length + index,
  ).sort();
  return Array.from(keys, (key) => all[key % all.length]).filter((session) => session !== undefined);
}
