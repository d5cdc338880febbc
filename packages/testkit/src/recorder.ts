import type { Observer, ProxyEvent } from '@meshgate/core';
import { Changes } from './changes.ts';

/** The events of one type. */
export type EventOf<Type extends ProxyEvent['type']> = Extract<ProxyEvent, { readonly type: Type }>;

/** Bounds of a wait for an event. */
export interface UntilOptions {
  /** 5 s when absent: less than a test's timeout, so that this error, with the events seen, comes first. */
  readonly timeoutMs?: number;
  /** Ends the wait when it aborts, with the same list of events. */
  readonly signal?: AbortSignal;
}

/** An observer that keeps every event, and lets a test wait for one. */
export interface Recorder extends Observer {
  /** All events so far, in order. */
  readonly events: readonly ProxyEvent[];
  /** Returns the events of one type so far, in order, as a new list. */
  all<Type extends ProxyEvent['type']>(type: Type): readonly EventOf<Type>[];
  /** Returns the latest event of this type, or `undefined` if there has been none. */
  last<Type extends ProxyEvent['type']>(type: Type): EventOf<Type> | undefined;
  /**
   * Resolves with the first event of this type for which `matches` returns true, past or future. Rejects with a list of
   * the events seen when the time is over or `signal` aborts.
   */
  until<Type extends ProxyEvent['type']>(
    type: Type,
    matches?: (event: EventOf<Type>) => boolean,
    options?: UntilOptions,
  ): Promise<EventOf<Type>>;
  /** Resolves with the first `count` events of this type. Rejects as {@link Recorder.until} does. */
  untilCount<Type extends ProxyEvent['type']>(
    type: Type,
    count: number,
    options?: UntilOptions,
  ): Promise<readonly EventOf<Type>[]>;
}

/** Creates a recorder. It keeps all events: for tests only. */
export function recorder(): Recorder {
  const events: ProxyEvent[] = [];
  const changes = new Changes();
  return { name: 'recorder', events, observe, all, last, until, untilCount };

  function observe(event: ProxyEvent): void {
    events.push(event);
    changes.announce();
  }

  function all<Type extends ProxyEvent['type']>(type: Type): readonly EventOf<Type>[] {
    return events.filter((event): event is EventOf<Type> => event.type === type);
  }

  function last<Type extends ProxyEvent['type']>(type: Type): EventOf<Type> | undefined {
    return all(type).at(-1);
  }

  function until<Type extends ProxyEvent['type']>(
    type: Type,
    matches: (event: EventOf<Type>) => boolean = () => true,
    options: UntilOptions = {},
  ): Promise<EventOf<Type>> {
    return wait(() => all(type).find(matches), `'${type}'`, options);
  }

  function untilCount<Type extends ProxyEvent['type']>(
    type: Type,
    count: number,
    options: UntilOptions = {},
  ): Promise<readonly EventOf<Type>[]> {
    return wait(() => firstOf(all(type), count), `${count} of '${type}'`, options);
  }

  async function wait<Found>(find: () => Found | undefined, wanted: string, options: UntilOptions): Promise<Found> {
    const { timeoutMs = DEFAULT_TIMEOUT_MS, signal } = options;
    let over = signal?.aborted === true ? CALLED_OFF : undefined;
    const timer = setTimeout(giveUp, timeoutMs, `within ${timeoutMs} ms`);
    const onAbort = (): void => giveUp(CALLED_OFF);
    signal?.addEventListener('abort', onAbort);
    try {
      return await changes.until(() => {
        const found = find();
        if (found !== undefined || over === undefined) return found;
        throw new Error(`expected ${wanted} ${over}, found ${summary(events)}`);
      });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }

    function giveUp(when: string): void {
      over = when;
      changes.announce();
    }
  }
}

function firstOf<Item>(items: readonly Item[], count: number): readonly Item[] | undefined {
  return items.length < count ? undefined : items.slice(0, count);
}

const CALLED_OFF = 'before the wait was aborted';
const DEFAULT_TIMEOUT_MS = 5_000;

// Enough to show the last events.
const SUMMARIZED = 30;

function summary(events: readonly ProxyEvent[]): string {
  if (events.length === 0) return 'no event';
  const earlier = events.length - SUMMARIZED;
  const lines = events.slice(-SUMMARIZED).map((event) => `\n  ${describeEvent(event)}`);
  return `${events.length} events:${earlier > 0 ? `\n  (${earlier} earlier ones)` : ''}${lines.join('')}`;
}

/** Returns the type of an event, and the facts that distinguish it from others of its type. */
function describeEvent(event: ProxyEvent): string {
  const facts: string[] = [event.type];
  if ('connection' in event) facts.push(event.connection.id);
  if ('closed' in event) facts.push(event.closed.connection.id, event.closed.error?.code ?? 'finished');
  if ('route' in event) facts.push(event.route.name);
  if ('listener' in event) facts.push(event.listener);
  if ('source' in event) facts.push(event.source);
  if ('error' in event && event.error !== undefined) facts.push(`(${event.error.message})`);
  return facts.join(' ');
}
