import { ProxyError } from '../errors.ts';
import { memoized } from '../memo.ts';
import type { Rate, Route } from '../routes/route.ts';
import { Access } from './access.ts';
import type { AddressLists } from './access.ts';
import { releasing } from './connection.ts';
import type { Upstream } from './connection.ts';
import type { ConnectContext, Connector, Layer } from './stages.ts';
import { formatRate, TokenBucket } from '../token-bucket.ts';

/** Settings of {@link routeRules}. */
export interface RouteRulesOptions {
  /** Files that access rules name. */
  readonly lists?: AddressLists;
  /** This process's share of each limit, greater than 0, up to 1; 1 when absent. */
  readonly share?: number;
}

/**
 * Enforces the access rules and limits of routes before a connector. Routes without them have no overhead. Counts are
 * kept by route name and shared by all connectors, so that they persist across snapshots and reloads.
 */
export function routeRules({ lists, share = 1 }: RouteRulesOptions = {}): Layer<Connector> {
  const accessOf = memoized((route: Route) => new Access(`route ${route.name}`, route.access ?? {}, lists));
  const usage = new RouteUsage(share);
  return (inner) => ({
    connect: (route, context) =>
      route.access === undefined && route.limits === undefined
        ? inner.connect(route, context)
        : ruled(inner, route, context),
  });

  async function ruled(inner: Connector, route: Route, context: ConnectContext): Promise<Upstream> {
    if (route.access !== undefined) {
      const rules = accessOf(route);
      const { ready } = rules;
      if (ready !== undefined) await ready;
      const refusal = rules.refusal(context.connection.remote.host);
      if (refusal !== undefined) throw refusal;
    }
    const { connections, rate } = route.limits ?? {};
    if (connections === undefined && rate === undefined) return inner.connect(route, context);
    const release = usage.take(route, performance.now());
    try {
      return releasing(await inner.connect(route, context), release);
    } catch (reason) {
      release();
      throw reason;
    }
  }
}

/** Usage of one route's limits. */
interface Usage {
  connections: number;
  /** Time at which the bucket will be full again, in monotonic milliseconds. */
  fullAt: number;
  /** Bucket of the current rate; absent before the first use. */
  bucket: TokenBucket | undefined;
}

/** Number of routes above which unused ones are dropped: routes come and go during the life of the process. */
const PRUNE_ABOVE = 1_000;

class RouteUsage {
  readonly #share: number;
  readonly #byName = new Map<string, Usage>();

  constructor(share: number) {
    this.#share = share;
  }

  /**
   * Counts one more connection of `route`.
   *
   * @returns uncounts the connection; idempotent
   * @throws ProxyError `LIMIT_REACHED` that names the limit
   */
  take(route: Route, nowMs: number): () => void {
    const { connections, rate } = route.limits ?? {};
    const usage = this.#of(route.name, nowMs);
    if (connections !== undefined && usage.connections >= Math.max(1, Math.floor(connections * this.#share)))
      throw full(route, `connections: all ${connections} are in use`);
    if (rate !== undefined) {
      const fullAt = this.#bucketOf(usage, rate, nowMs).fullAtAfterTake(usage.fullAt, nowMs);
      if (fullAt === undefined) throw full(route, `rate: more than ${formatRate(rate)}`);
      usage.fullAt = fullAt;
    }
    usage.connections += 1;
    let isAcquired = true;
    return () => {
      if (isAcquired) usage.connections -= 1;
      isAcquired = false;
    };
  }

  /** Returns the bucket of a rate. A reload may have changed the rate: tokens already spent stay spent. */
  #bucketOf(usage: Usage, { count, perMs }: Rate, nowMs: number): TokenBucket {
    const rate = { count: count * this.#share, perMs };
    const known = usage.bucket;
    if (known?.hasRate(rate) === true) return known;
    const bucket = new TokenBucket(rate);
    if (known !== undefined) usage.fullAt = bucket.fullAtAfter(known, usage.fullAt, nowMs);
    usage.bucket = bucket;
    return bucket;
  }

  #of(name: string, nowMs: number): Usage {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    if (this.#byName.size >= PRUNE_ABOVE) this.#prune(nowMs);
    const usage: Usage = { connections: 0, fullAt: 0, bucket: undefined };
    this.#byName.set(name, usage);
    return usage;
  }

  #prune(nowMs: number): void {
    for (const [name, { connections, fullAt }] of this.#byName)
      if (connections === 0 && fullAt <= nowMs) this.#byName.delete(name);
  }
}

function full({ name }: Route, what: string): ProxyError {
  return new ProxyError('LIMIT_REACHED', `route ${name}: limits.${what}`);
}
