import type { RouteTraffic, Traffic } from './traffic.ts';

/** Rates of connections, from the difference between two samples. */
export interface TrafficRates {
  /** Seconds between the two samples. */
  readonly seconds: number;
  readonly connections: number;
  readonly acceptedPerSecond: number;
  readonly refusedPerSecond: number;
  /** Routes whose numbers differ from the last ones sent. */
  readonly routes: Readonly<Record<string, RouteRates>>;
}

/** Rates of one route. */
export interface RouteRates {
  readonly active: number;
  readonly closedPerSecond: number;
  readonly failedPerSecond: number;
  readonly bytesUpPerSecond: number;
  readonly bytesDownPerSecond: number;
  /** Numbers of errors since the start, by code. */
  readonly errors: Readonly<Record<string, number>>;
}

/** Keeps the last sample, and returns what has changed since. */
export class RateMeter {
  #last: { readonly traffic: Traffic; readonly at: number } | undefined;
  readonly #rates = new Map<string, RouteRates>();

  /** Rates of all routes with traffic, as last sent. */
  get current(): Readonly<Record<string, RouteRates>> {
    return Object.fromEntries(this.#rates);
  }

  /**
   * Returns the rates since the last sample; 0 at the first one.
   *
   * @param at time of the sample, in monotonic milliseconds
   */
  next(traffic: Traffic, at: number): TrafficRates {
    const last = this.#last ?? { traffic, at: at - 1_000 };
    this.#last = { traffic, at };
    const seconds = Math.max(0.001, (at - last.at) / 1_000);
    const perSecond = (now: number, before: number): number => rounded(Math.max(0, now - before) / seconds);
    let connections = 0;
    const changed: [string, RouteRates][] = [];
    for (const [name, now] of Object.entries(traffic.routes)) {
      connections += now.active;
      const rates = ratesOf(now, last.traffic.routes[name] ?? NOTHING, perSecond);
      if (isSame(this.#rates.get(name), rates)) continue;
      this.#rates.set(name, rates);
      changed.push([name, rates]);
    }
    this.#forgetGone(traffic);
    return {
      seconds: rounded(seconds),
      connections,
      acceptedPerSecond: perSecond(traffic.accepted, last.traffic.accepted),
      refusedPerSecond: perSecond(traffic.refused, last.traffic.refused),
      routes: Object.fromEntries(changed),
    };
  }

  /** Drops removed routes. */
  #forgetGone({ routes }: Traffic): void {
    for (const name of this.#rates.keys()) if (!(name in routes)) this.#rates.delete(name);
  }
}

const NOTHING: RouteTraffic = { active: 0, closed: 0, bytesUp: 0, bytesDown: 0, errors: {} };

function ratesOf(
  now: RouteTraffic,
  before: RouteTraffic,
  perSecond: (now: number, before: number) => number,
): RouteRates {
  return {
    active: now.active,
    closedPerSecond: perSecond(now.closed, before.closed),
    failedPerSecond: perSecond(failures(now), failures(before)),
    bytesUpPerSecond: perSecond(now.bytesUp, before.bytesUp),
    bytesDownPerSecond: perSecond(now.bytesDown, before.bytesDown),
    errors: now.errors,
  };
}

function failures({ errors }: RouteTraffic): number {
  let sum = 0;
  for (const code in errors) sum += errors[code] ?? 0;
  return sum;
}

/** Compares rates. Errors only grow: an equal failure rate with another total is part of the next sample. */
function isSame(one: RouteRates | undefined, other: RouteRates): boolean {
  return (
    one !== undefined &&
    one.active === other.active &&
    one.closedPerSecond === other.closedPerSecond &&
    one.failedPerSecond === 0 &&
    other.failedPerSecond === 0 &&
    one.bytesUpPerSecond === other.bytesUpPerSecond &&
    one.bytesDownPerSecond === other.bytesDownPerSecond
  );
}

/** Rounds to one decimal. */
function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}
