import type { HealthCheck } from '../routes/route.ts';
import { formatEndpoint } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';

/** What checks have found out of one address: plain data, for other processes too. */
export interface HealthMark {
  /** Made by {@link healthKey}. */
  readonly key: string;
  /** `up` after it was down; `none`: as if it had never been checked. */
  readonly state: 'down' | 'up' | 'none';
  /** For how long, in milliseconds: clocks of processes differ. 0: it has just been found out. */
  readonly forMs: number;
}

/** Routes with equal checks of one address share them. */
export function healthKey(check: HealthCheck, address: Endpoint): string {
  return `${checkKey(check)} ${formatEndpoint(address)}`;
}

const keys = new WeakMap<HealthCheck, string>();

function checkKey(check: HealthCheck): string {
  let key = keys.get(check);
  if (key === undefined) {
    const { kind, intervalMs, timeoutMs, rise, fall, serverName = '' } = check;
    key = [kind, intervalMs, timeoutMs, rise, fall, serverName].join(',');
    keys.set(check, key);
  }
  return key;
}

/** The least part of its share that a backend has at the beginning of a slow start: with none, it would never be tried. */
const FIRST_SHARE = 0.1;

/**
 * What health checks have found out, for whoever chooses backends. It holds what is down, or was: while all is well it is empty, and asking
 * costs nothing. An address that was never checked is up.
 */
export class BackendHealth {
  /** Told of each address that is down from now on, by its key; nobody when absent. */
  onDown: ((key: string) => void) | undefined;
  readonly #marks = new Map<string, { readonly state: 'down' | 'up'; readonly since: number }>();

  /** Everything that is known, for a process that starts. */
  get marks(): readonly HealthMark[] {
    const now = performance.now();
    return Array.from(this.#marks, ([key, { state, since }]) => ({ key, state, forMs: now - since }));
  }

  /** From now on this is known. */
  mark({ key, state, forMs }: HealthMark): void {
    if (state === 'none') this.#marks.delete(key);
    else this.#marks.set(key, { state, since: performance.now() - forMs });
    // What was down before, by a check that a reload has changed, is no news.
    if (state === 'down' && forMs === 0) this.onDown?.(key);
  }

  /** Whether its checks have failed. A name is down when all of its addresses are. */
  isDown(check: HealthCheck, address: Endpoint): boolean {
    return this.#marks.size > 0 && this.#marks.get(healthKey(check, address))?.state === 'down';
  }

  /** Of several addresses of a backend those that are up; all of them when none is. */
  usable(check: HealthCheck, addresses: readonly Endpoint[]): readonly Endpoint[] {
    if (this.#marks.size === 0 || addresses.length < 2) return addresses;
    const up = addresses.filter((address) => !this.isDown(check, address));
    return up.length > 0 ? up : addresses;
  }

  /** The part of its share that a backend may have now: below 1 while it starts slowly, after it was down. */
  share(check: HealthCheck, address: Endpoint): number {
    const { slowStartMs } = check;
    if (slowStartMs === undefined || this.#marks.size === 0) return 1;
    const mark = this.#marks.get(healthKey(check, address));
    if (mark?.state !== 'up') return 1;
    return Math.min(1, Math.max(FIRST_SHARE, (performance.now() - mark.since) / slowStartMs));
  }
}
