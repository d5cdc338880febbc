import { Readable } from 'node:stream';
import type { Observer, ProxyEvent } from '@meshgate/core';
import { pause } from '@meshgate/core';
import { Cell, openScope } from '@meshgate/core/parts';
import type { Scope } from '@meshgate/core/parts';
import { routeChanges } from '../log/route-changes.ts';
import type { RouteChanges } from '../log/route-changes.ts';
import { RateMeter } from './traffic-rates.ts';
import type { RouteRates, TrafficRates } from './traffic-rates.ts';
import type { StatusView } from './status.ts';
import type { Traffic } from './traffic.ts';
import { printableJson } from '../log/printable.ts';

/** Dependencies of {@link EventStreams}. */
export interface EventStreamsOptions {
  status(): StatusView | Promise<StatusView>;
  traffic(): Traffic | Promise<Traffic>;
  /** Receives internal failures. */
  readonly observer: Observer;
  /** Interval between samples in milliseconds; {@link TICK_MS} when absent. */
  readonly tickMs?: number;
  /** Time for which a reader may leave a message unread, in milliseconds; {@link SLOW_MS} when absent. */
  readonly slowMs?: number;
}

/** The event `routes`: the changes of one source. */
interface RoutesEvent extends RouteChanges {
  readonly source: string;
  readonly version: string;
}

/**
 * Streams server-sent events to a limited number of readers: `status` and `traffic` at each tick, `routes` with the
 * changes of the route table since the last one. Samples nothing while there are no readers.
 *
 * A slow reader misses ticks, but no change: its next message contains everything that has changed since its last one.
 * A reader that does not read at all is disconnected.
 */
export class EventStreams {
  readonly #options: EventStreamsOptions;
  readonly #readers = new Set<EventReader>();
  #isSampling = false;

  constructor(options: EventStreamsOptions) {
    this.#options = options;
  }

  /** Records changes of routes. */
  observe(event: ProxyEvent): void {
    if (event.type !== 'routes.replaced' || event.previous === undefined || this.#readers.size === 0) return;
    const { source, previous, snapshot } = event;
    const changes = { source, version: snapshot.version, ...routeChanges(previous, snapshot) };
    for (const reader of this.#readers) reader.addChange(changes);
  }

  /**
   * Opens a stream, which ends when `signal` aborts. Returns `undefined` when there are {@link MAX_STREAMS} already.
   */
  open(signal: AbortSignal): Readable | undefined {
    if (this.#readers.size >= MAX_STREAMS) return undefined;
    const reader = new EventReader(openScope(signal));
    this.#readers.add(reader);
    const stream = Readable.from(this.#messages(reader), { highWaterMark: 1 });
    reader.scope.signal.addEventListener('abort', () => stream.destroy(), { once: true });
    if (!this.#isSampling) void this.#sample();
    return stream;
  }

  async *#messages(reader: EventReader): AsyncGenerator<string> {
    const { signal } = reader.scope;
    try {
      yield `retry: ${RETRY_MS}\n\n`;
      for (;;) {
        await reader.changed();
        if (signal.aborted) return;
        yield reader.take();
      }
    } finally {
      this.#readers.delete(reader);
      reader.scope.end();
    }
  }

  /** Samples while there are readers, for at most 5% of the time. */
  async #sample(): Promise<void> {
    const { tickMs = TICK_MS, slowMs = SLOW_MS, observer } = this.#options;
    this.#isSampling = true;
    const meter = new RateMeter();
    while (this.#readers.size > 0) {
      const begunAt = performance.now();
      try {
        const [status, traffic] = await Promise.all([this.#options.status(), this.#options.traffic()]);
        const rates = meter.next(traffic, performance.now());
        for (const reader of this.#readers) reader.addTick(status, rates, () => meter.current);
      } catch (reason) {
        const error = reason instanceof Error ? reason : new Error(String(reason));
        observer.observe({ type: 'service.failed', service: 'admin', error });
      }
      const tookMs = performance.now() - begunAt;
      await pause(Math.max(tickMs, tookMs * 19), NEVER);
      for (const reader of this.#readers) if (reader.unreadMs > slowMs) reader.scope.end();
    }
    this.#isSampling = false;
  }
}

/**
 * Room for a few operators, with two pages and a `top` each. Each stream costs a descriptor and one message per second.
 */
export const MAX_STREAMS = 8;
/** Shorter intervals are not useful to human readers. */
const TICK_MS = 1_000;
/** A browser tab in the background still reads. */
const SLOW_MS = 15_000;
/** Reconnect delay of a browser. */
const RETRY_MS = 2_000;
/** A slow reader gets the first changes, and the number of the others. */
const MAX_CHANGES = 50;

const NEVER = new AbortController().signal;

/** The events that one reader has not received yet. */
class EventReader {
  readonly scope: Scope;
  readonly #cell = new Cell<true>();
  #seen = 0;
  #status: StatusView | undefined;
  #rates: TrafficRates | undefined;
  /** Routes that have changed since the last message. */
  #routes: Record<string, RouteRates> = {};
  #isNew = true;
  readonly #changes: RoutesEvent[] = [];
  #missed = 0;
  #unreadSince: number | undefined;

  constructor(scope: Scope) {
    this.scope = scope;
  }

  /** Time for which a message has been waiting for the reader. */
  get unreadMs(): number {
    return this.#unreadSince === undefined ? 0 : performance.now() - this.#unreadSince;
  }

  changed(): Promise<void> {
    return this.#cell.changed(this.#seen, this.scope.signal);
  }

  addChange(change: RoutesEvent): void {
    if (this.#changes.length < MAX_CHANGES) this.#changes.push(change);
    else this.#missed += 1;
    this.#wake();
  }

  /** @param all returns the rates of every route, for a reader that has not received any */
  addTick(status: StatusView, rates: TrafficRates, all: () => Readonly<Record<string, RouteRates>>): void {
    this.#status = status;
    this.#rates = rates;
    this.#routes = this.#isNew ? { ...all() } : { ...this.#routes, ...rates.routes };
    this.#isNew = false;
    this.#wake();
  }

  /** Returns everything since the last call, as server-sent events. */
  take(): string {
    this.#seen = this.#cell.revision;
    this.#unreadSince = undefined;
    const missed = this.#missed === 0 ? [] : [message('missed', { changes: this.#missed })];
    const tick = this.#status === undefined ? [] : [message('status', this.#status)];
    const rates = this.#rates === undefined ? [] : [message('traffic', { ...this.#rates, routes: this.#routes })];
    const changes = this.#changes.splice(0).map((change) => message('routes', change));
    this.#missed = 0;
    this.#status = undefined;
    this.#rates = undefined;
    this.#routes = {};
    return [...changes, ...missed, ...tick, ...rates].join('');
  }

  #wake(): void {
    this.#unreadSince ??= performance.now();
    this.#cell.set(true);
  }
}

/** Formats a message in one `data` line, since JSON has no raw line breaks. */
function message(event: string, data: object): string {
  return `event: ${event}\ndata: ${printableJson(JSON.stringify(data))}\n\n`;
}
