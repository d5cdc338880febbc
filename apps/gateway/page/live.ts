import { useEffect, useState } from 'preact/hooks';
import type { RouteChanges } from '../src/log/route-changes.ts';
import type { StatusView } from '../src/admin/status.ts';
import type { RouteRates, TrafficRates } from '../src/admin/traffic-rates.ts';
import { get } from './api.ts';

/** State of the event stream. */
export type Link =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'live' }
  /** `why`: the reason, if it is known. */
  | { readonly kind: 'lost'; readonly since: Date; readonly why: string };

/** Changes of a source, and when this page received them. */
export interface RouteEvent extends RouteChanges {
  readonly source: string;
  readonly at: Date;
}

/** Recent samples of one route, oldest first. */
export interface History {
  readonly closed: number[];
  readonly failed: number[];
}

/** Everything received from the gateway. Mutable: the page is rendered again at each {@link Live.revision}. */
export class Live {
  link: Link = { kind: 'connecting' };
  status: StatusView | undefined;
  traffic: Omit<TrafficRates, 'routes'> | undefined;
  readonly routes = new Map<string, RouteRates>();
  readonly histories = new Map<string, History>();
  readonly total: History = { closed: [], failed: [] };
  readonly changes: RouteEvent[] = [];
  /** Incremented when the route table, or the state of a backend, has changed. */
  tableRevision = 0;
  revision = 0;
  readonly #onChange: () => void;
  #source: EventSource | undefined;
  #retry: number | undefined;

  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  open(): void {
    const source = new EventSource('events');
    this.#source = source;
    source.addEventListener('status', ({ data }: MessageEvent<string>) =>
      this.#onStatus(JSON.parse(data) as StatusView),
    );
    source.addEventListener('traffic', ({ data }: MessageEvent<string>) =>
      this.#onTraffic(JSON.parse(data) as TrafficRates),
    );
    source.addEventListener('routes', ({ data }: MessageEvent<string>) =>
      this.#onRoutes(JSON.parse(data) as Omit<RouteEvent, 'at'>),
    );
    source.addEventListener('error', () => this.#onLost());
  }

  close(): void {
    this.#source?.close();
    window.clearTimeout(this.#retry);
  }

  #onStatus(status: StatusView): void {
    const before = this.status;
    const isAnother = before === undefined || before.pid !== status.pid || before.startedAt !== status.startedAt;
    if (isAnother || this.link.kind !== 'live') this.#forget();
    else if (before.ejected !== status.ejected || before.routes !== status.routes) this.tableRevision += 1;
    this.link = { kind: 'live' };
    this.status = status;
    this.#changed();
  }

  /** Another process, or a gap: rates from before would be misleading. */
  #forget(): void {
    this.routes.clear();
    this.histories.clear();
    this.total.closed.length = 0;
    this.total.failed.length = 0;
    this.tableRevision += 1;
  }

  #onTraffic({ routes, ...traffic }: TrafficRates): void {
    this.traffic = traffic;
    for (const [name, rates] of Object.entries(routes)) this.routes.set(name, rates);
    let closed = 0;
    let failed = 0;
    for (const [name, rates] of this.routes) {
      closed += rates.closedPerSecond;
      failed += rates.failedPerSecond;
      remember(this.#historyOf(name), rates.closedPerSecond, rates.failedPerSecond);
    }
    remember(this.total, closed, failed);
    this.#changed();
  }

  #historyOf(name: string): History {
    const known = this.histories.get(name);
    if (known !== undefined) return known;
    const history = { closed: [], failed: [] };
    this.histories.set(name, history);
    return history;
  }

  #onRoutes(event: Omit<RouteEvent, 'at'>): void {
    this.changes.unshift({ ...event, at: new Date() });
    this.changes.length = Math.min(this.changes.length, MAX_CHANGES);
    this.tableRevision += 1;
    this.#changed();
  }

  #onLost(): void {
    if (this.link.kind !== 'lost') this.link = { kind: 'lost', since: new Date(), why: '' };
    this.#changed();
    // A browser reconnects by itself unless it was refused.
    if (this.#source?.readyState !== EventSource.CLOSED) return;
    window.clearTimeout(this.#retry);
    this.#retry = window.setTimeout(() => this.open(), RETRY_MS);
    void get('live').then(
      () => this.#refused(),
      () => undefined,
    );
  }

  #refused(): void {
    if (this.link.kind !== 'lost') return;
    this.link = { ...this.link, why: 'it responds, but all its event streams are in use: close other pages' };
    this.#changed();
  }

  #changed(): void {
    this.revision += 1;
    this.#onChange();
  }
}

/** A minute, at a sample a second. */
export const SAMPLES = 60;
const MAX_CHANGES = 50;
const RETRY_MS = 3_000;

function remember({ closed, failed }: History, closedNow: number, failedNow: number): void {
  closed.push(closedNow);
  failed.push(failedNow);
  if (closed.length > SAMPLES) closed.shift();
  if (failed.length > SAMPLES) failed.shift();
}

/** Live data of the gateway; the component is rendered again at each change. */
export function useLive(): Live {
  const [, redraw] = useState(0);
  const [live] = useState(() => new Live(() => redraw((count) => count + 1)));
  useEffect(() => {
    live.open();
    return () => live.close();
  }, [live]);
  return live;
}
