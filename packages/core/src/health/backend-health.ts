import { memoized } from '../memo.ts';
import type { HealthCheck } from '../routes/route.ts';
import { formatEndpoint } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';

/** Health of one address: plain data that is also sent to other processes. */
export interface HealthMark {
  /** A key of {@link healthKey}. */
  readonly key: string;
  /** `up`: after having been down. `none`: as if never checked. */
  readonly state: 'down' | 'up' | 'none';
  /** Duration of the state, in milliseconds, since the clocks of processes differ. 0: a new result. */
  readonly forMs: number;
}

/** Returns the key of a check and an address. Routes with equal checks of one address share it. */
export function healthKey(check: HealthCheck, address: Endpoint): string {
  return `${checkKey(check)} ${formatEndpoint(address)}`;
}

const checkKey = memoized(({ kind, intervalMs, timeoutMs, rise, fall, serverName = '' }: HealthCheck) =>
  [kind, intervalMs, timeoutMs, rise, fall, serverName].join(','),
);

/** Minimum share of a backend at the beginning of its slow start: with a share of 0, it would never be tried. */
const FIRST_SHARE = 0.1;

/**
 * Health check results for the selection of backends. Only holds addresses that are or were down: if none is, it is
 * empty, and lookups cost nothing. An address that was never checked is up.
 */
export class BackendHealth {
  /** Called with the key of each address that goes down. */
  onDown: ((key: string) => void) | undefined;
  readonly #marks = new Map<string, { readonly state: 'down' | 'up'; readonly since: number }>();

  /** All marks, for a process that starts. */
  get marks(): readonly HealthMark[] {
    const now = performance.now();
    return Array.from(this.#marks, ([key, { state, since }]) => ({ key, state, forMs: now - since }));
  }

  /** Adds or replaces a mark. */
  mark({ key, state, forMs }: HealthMark): void {
    if (state === 'none') this.#marks.delete(key);
    else this.#marks.set(key, { state, since: performance.now() - forMs });
    // An address that was down before, under a check that a reload has changed, has not gone down now.
    if (state === 'down' && forMs === 0) this.onDown?.(key);
  }

  /** Whether the checks of `address` have failed. A DNS name is down when all of its addresses are. */
  isDown(check: HealthCheck, address: Endpoint): boolean {
    return this.#marks.size > 0 && this.#marks.get(healthKey(check, address))?.state === 'down';
  }

  /** Returns those of a backend's addresses that are up, or all if none is. */
  usable(check: HealthCheck, addresses: readonly Endpoint[]): readonly Endpoint[] {
    if (this.#marks.size === 0 || addresses.length < 2) return addresses;
    const up = addresses.filter((address) => !this.isDown(check, address));
    return up.length > 0 ? up : addresses;
  }

  /** Returns the share of its load that a backend may have: less than 1 during the slow start after it was down. */
  share(check: HealthCheck, address: Endpoint): number {
    const { slowStartMs } = check;
    if (slowStartMs === undefined || this.#marks.size === 0) return 1;
    const mark = this.#marks.get(healthKey(check, address));
    if (mark?.state !== 'up') return 1;
    return Math.min(1, Math.max(FIRST_SHARE, (performance.now() - mark.since) / slowStartMs));
  }
}
