import { BackendHealth } from '../health/backend-health.ts';
import type { AddressBook } from '../names/address-book.ts';
import { withSlots } from './backend-slots.ts';
import type { BackendSlot } from './backend-slots.ts';
import type { BalanceFactory } from './picker.ts';
import { Candidates } from './candidates.ts';
import type { Preference } from './candidates.ts';
import type { Upstream } from './connection.ts';
import { FailoverGroups } from './failover-groups.ts';
import { Dials } from './dials.ts';
import type { DialsOptions } from './dials.ts';
import { addressKey, Loads } from './loads.ts';
import type { Load } from './loads.ts';
import { ManyAddresses } from './many-addresses.ts';
import { countsConnections, Pickers } from './pickers.ts';
import type { Backend, Route } from '../routes/route.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import type { Transfer } from '../transport/transport.ts';
import type { ConnectContext, Connector } from './stages.ts';

/** Dependencies of {@link balancedConnector}. */
export interface ConnectorOptions extends DialsOptions {
  readonly addresses: AddressBook;
  /** This process's share of `limits.perBackend`: greater than 0, up to 1; 1 when absent. */
  readonly share?: number;
  /** Returns a random number in [0, 1); `Math.random` when absent. */
  readonly random?: () => number;
  /** Balances that plugins offer, by name; none when absent. */
  readonly balances?: ReadonlyMap<string, BalanceFactory>;
  /** Results of health checks; none when absent. */
  readonly health?: BackendHealth;
  /** Labels of the preferred backends; none when absent. May be a getter, read at each choice, like `keepAlive`. */
  readonly prefer?: Preference;
  /** Shared state of the priority groups, for views of it; private to the connector when absent. */
  readonly failover?: FailoverGroups;
}

/** A connector for callers that try several routes for one connection. */
export interface BalancedConnector extends Connector {
  /**
   * @param withinMs maximum connect time, in milliseconds, besides the route's own limit; none when absent
   */
  connect(route: Route, context: ConnectContext, withinMs?: number): Promise<Upstream>;
}

/**
 * Connects to one of a route's backends: one selected by the route's balance among the healthy ones; if the dial fails,
 * the next; ejected and unhealthy ones last. One deadline covers all attempts; while others are left, a backend may use
 * half of the remaining time, so that one that hangs cannot use it up. The number of dials is bounded. Only one dial at
 * a time goes to an ejected address; other connections share its outcome.
 */
export function balancedConnector(options: ConnectorOptions): BalancedConnector {
  const { outliers } = options;
  /** By backend address, for routes whose balance uses the counts: shared over these routes and across snapshots. */
  const loads = new Loads();
  const manyAddresses = new ManyAddresses(outliers);
  const health = options.health ?? new BackendHealth();
  const candidates = candidatesOf(options, health);
  const pickers = pickersOf(options, loads);
  return withSlots(options.share ?? 1, connect);

  function connect(route: Route, context: ConnectContext, withinMs?: number, slot?: BackendSlot): Promise<Upstream> {
    const dials = new Dials(options, route, context);
    if (withinMs !== undefined) dials.endWithin(withinMs);
    const load = countsConnections(route.balance) ? loads.open() : undefined;
    const reached = counted(load, reach(dials, slot, load));
    if (route.retryBeforeFirstByte !== true) return reached;
    return retrying(dials, reached, () => counted(load, reach(dials, slot, load)));
  }

  async function reach(dials: Dials, slot?: BackendSlot, load?: Load): Promise<Upstream> {
    const { route, context } = dials;
    while (dials.untried.length > 0 && dials.remaining > 0) {
      const backend = next(route, dials.untried, context);
      if (backend === undefined) throw dials.allDown();
      dials.chosen(backend);
      if (slot?.moveTo(backend) === false) continue;
      load?.moveTo(addressKey(backend));
      const known = options.addresses.find(backend.address);
      const found = known instanceof Promise ? await dials.lookedUp(backend.address, known) : known;
      const addresses = dials.answering(usable(health, route, found));
      const [address] = addresses;
      if (address === undefined) continue;
      const timeoutMs = dials.timeForNext();
      if (addresses.length > 1 || outliers.isEjected(address)) {
        const within = { dials, endsAt: performance.now() + timeoutMs };
        const reached = await manyAddresses.reach(backend, addresses, within);
        if (reached !== undefined) return { ...reached, route, backend, release: releaseOf(load) };
        continue;
      }
      // The usual case: it allocates nothing but the dial.
      const dial = dials.begin(backend, address, timeoutMs);
      if (dial === undefined) continue;
      const { beganAt } = dials;
      try {
        const connection = await dial.done;
        outliers.succeeded(address);
        return { connection, route, backend, address, release: releaseOf(load) };
      } catch (reason) {
        dials.failed(address, reason, beganAt);
      }
    }
    throw dials.failure();
  }

  function next(route: Route, untried: readonly Backend[], client: ConnectContext): Backend | undefined {
    const best = candidates.among(route, untried);
    return best.length < 2 ? best[0] : pickers.pick(route, best, client);
  }
}

/** Adds a retry to the result of `reached`, and to that of each retry, as long as there is something left to try. */
async function retrying(dials: Dials, reached: Promise<Upstream>, next: () => Promise<Upstream>): Promise<Upstream> {
  const upstream = await reached;
  if (!dials.hasMore) return upstream;
  const { backend, address } = upstream;
  const reach = (transfer: Transfer): Promise<Upstream> => {
    upstream.release(transfer);
    dials.unanswered(backend, address, transfer.error);
    return retrying(dials, next(), next);
  };
  return { ...upstream, retry: { untilMs: dials.endsAt, reach } };
}

function candidatesOf(options: ConnectorOptions, health: BackendHealth): Candidates {
  const { outliers, observer, failover = new FailoverGroups(observer), random = Math.random } = options;
  return new Candidates({
    outliers,
    health,
    failover,
    random,
    get preference() {
      return options.prefer ?? NO_PREFERENCE;
    },
  });
}

function pickersOf({ balances, observer, random = Math.random }: ConnectorOptions, loads: Loads): Pickers {
  return new Pickers({
    load: (backend) => loads.of(addressKey(backend)),
    random,
    offered: balances ?? new Map(),
    observer,
  });
}

/** Releases `load` if `reached` fails. */
function counted(load: Load | undefined, reached: Promise<Upstream>): Promise<Upstream> {
  if (load === undefined) return reached;
  return reached.catch((reason: unknown) => {
    load.release();
    throw reason;
  });
}

function releaseOf(load: Load | undefined): () => void {
  return load === undefined ? NOTHING_TO_RELEASE : () => load.release();
}

const NO_PREFERENCE: Preference = {};
const NOTHING_TO_RELEASE = (): void => undefined;

/** Returns the addresses of a name that health checks allow. */
function usable(health: BackendHealth, { healthCheck }: Route, addresses: readonly Endpoint[]): readonly Endpoint[] {
  return healthCheck === undefined ? addresses : health.usable(healthCheck, addresses);
}
