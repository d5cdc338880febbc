import type { AddressBook } from '../names/address-book.ts';
import { picker } from './balance.ts';
import type { Picker } from './balance.ts';
import type { Upstream } from './connection.ts';
import { formatEndpoint } from '../transport/endpoint.ts';
import { Dials } from './dials.ts';
import type { DialsOptions } from './dials.ts';
import { ManyAddresses } from './many-addresses.ts';
import type { Outliers } from './outliers.ts';
import type { Backend, Route } from '../routes/route.ts';
import type { Reached } from './staggered-dials.ts';
import type { ConnectContext, Connector } from './stages.ts';

/** What {@link balancedConnector} is made of. */
export interface ConnectorOptions extends DialsOptions {
  readonly addresses: AddressBook;
  /** In [0, 1); `Math.random` when absent. */
  readonly random?: () => number;
}

/**
 * Reaches one of a route's backends: chosen by the route's balance among the healthy ones, then, as dials fail, the next, and at
 * last those that are ejected or unhealthy. One deadline covers all attempts; while others are left, a backend may use half of
 * what remains of it, so that one that hangs cannot use it up. The number of dials is bounded; of an address that is ejected one dial is
 * under way at a time, and the other connections share its outcome.
 */
export function balancedConnector(options: ConnectorOptions): Connector {
  const { outliers } = options;
  const loads = new Loads();
  const pickers = new WeakMap<Route, Picker>();
  const manyAddresses = new ManyAddresses(outliers);
  const random = options.random ?? Math.random;
  return { connect };

  async function connect(route: Route, context: ConnectContext): Promise<Upstream> {
    const dials = new Dials(options, route, context);
    let untried = route.backends;
    while (untried.length > 0 && dials.left > 0) {
      const backend = next(route, untried);
      untried = without(untried, backend);
      const found = options.addresses.find(backend.address);
      const addresses = found instanceof Promise ? await dials.lookedUp(backend.address, found) : found;
      const [address] = addresses;
      if (address === undefined) continue;
      const timeoutMs = dials.timeFor(untried.length === 0);
      if (addresses.length > 1 || outliers.isEjected(address)) {
        const within = { dials, endsAt: performance.now() + timeoutMs };
        const reached = await manyAddresses.reach(backend, addresses, within);
        if (reached !== undefined) return upstream(reached, route, backend);
        continue;
      }
      // The usual case: nothing is made for it beside the dial.
      const dial = dials.begin(backend, address, timeoutMs);
      if (dial === undefined) continue;
      const { beganAt } = dials;
      try {
        const connection = await dial.done;
        outliers.succeeded(address);
        return upstream({ connection, address }, route, backend);
      } catch (reason) {
        dials.failed(address, reason, beganAt);
      }
    }
    throw dials.failure(untried.length);
  }

  function next(route: Route, untried: readonly Backend[]): Backend {
    const best = preferred(untried, options.outliers);
    const [only] = best;
    return only !== undefined && best.length === 1 ? only : pickerOf(route).pick(best);
  }

  function pickerOf(route: Route): Picker {
    let known = pickers.get(route);
    if (known === undefined) {
      known = picker(route.balance ?? 'round_robin', { load: (backend) => loads.of(backend), random });
      pickers.set(route, known);
    }
    return known;
  }

  function upstream({ connection, address }: Reached, route: Route, backend: Backend): Upstream {
    const release = route.balance === 'least_connections' ? loads.take(backend) : NOTHING_TO_RELEASE;
    return { connection, route, backend, address, release };
  }
}

/**
 * Healthy and not ejected; else healthy; else whatever there is; and of these the lowest priority. Advice orders the dials, it never
 * forbids one.
 */
function preferred(backends: readonly Backend[], outliers: Outliers): readonly Backend[] {
  const isTrusted = ({ healthy, address }: Backend): boolean => healthy && !outliers.isEjected(address);
  // The usual case, and nothing is made for it.
  if (backends.every((backend) => backend.priority === undefined && isTrusted(backend))) return backends;
  const trusted = backends.filter(isTrusted);
  if (trusted.length > 0) return firstInLine(trusted);
  const healthy = backends.filter((backend) => backend.healthy);
  return firstInLine(healthy.length > 0 ? healthy : backends);
}

function firstInLine(backends: readonly Backend[]): readonly Backend[] {
  const lowest = backends.reduce((least, { priority = 0 }) => Math.min(least, priority), Infinity);
  return backends.filter(({ priority = 0 }) => priority === lowest);
}

function without(backends: readonly Backend[], backend: Backend): readonly Backend[] {
  return backends.length === 1 ? NO_BACKENDS : backends.filter((one) => one !== backend);
}

const NO_BACKENDS: readonly Backend[] = [];
const NOTHING_TO_RELEASE = (): void => undefined;

/**
 * Connections by backend address, of the routes that balance by it: backends of equal address are one, over all of these routes
 * and over snapshots.
 */
class Loads {
  readonly #counts = new Map<string, number>();

  of({ address }: Backend): number {
    return this.#counts.get(formatEndpoint(address)) ?? 0;
  }

  /** @returns gives the place back; to be called once */
  take({ address }: Backend): () => void {
    const key = formatEndpoint(address);
    this.#add(key, 1);
    return () => this.#add(key, -1);
  }

  #add(key: string, change: 1 | -1): void {
    const count = (this.#counts.get(key) ?? 0) + change;
    if (count > 0) this.#counts.set(key, count);
    else this.#counts.delete(key);
  }
}
