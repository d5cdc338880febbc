import { SIDES } from '@meshgate/core';
import type { Accepted, ClosedConnection, Progress, ProxyErrorCode } from '@meshgate/core';
import { Durations } from './durations.ts';
import type { DurationCell } from './durations.ts';
import { CellFamily } from './family.ts';
import type { MetricCell } from './family.ts';
import type { LabeledRegistry } from './labeled-registry.ts';
import { Memo } from './memo.ts';
import { METRICS } from './metrics.ts';
import { RecentHellos } from './recent-hellos.ts';

/** A live connection and its bytes so far. */
export interface CarriedConnection {
  /** The object that its events refer to. */
  readonly connection: Accepted;
  /** Byte counts of the transport; they never decrease. */
  readonly carried: Pick<Progress, 'bytesUp' | 'bytesDown'>;
}

/**
 * Connection metrics, by listener and route.
 *
 * Removing a route removes its series. Its live connections are then counted under the empty route name, so that sums
 * stay correct and a later close does not recreate a dropped series.
 */
export class ConnectionMetrics {
  readonly #accepted: CellFamily<'listener'>;
  readonly #refused: CellFamily<'listener' | 'code'>;
  readonly #hello: Durations<'listener'>;
  readonly #ofRoutes: RouteFamilies;
  readonly #acceptedBy = new Memo((listener: string) => this.#accepted.cell({ listener }));
  readonly #helloBy = new Memo((listener: string) => this.#hello.cell({ listener }));
  readonly #recent = new RecentHellos();
  readonly #repeated: CellFamily<'listener'>;
  readonly #repeatedBy = new Memo((listener: string) => this.#repeated.cell({ listener }));
  readonly #refusedBy = new Memo(
    (listener: string) => new Memo((code: ProxyErrorCode) => this.#refused.cell({ listener, code })),
  );
  readonly #routes = new Memo((route: string) => new RouteSeries(route, this.#ofRoutes));
  /** A `WeakMap`, since V8 keeps the old tables of a `Map` with frequent writes, and their entries, on the heap. */
  readonly #live = new WeakMap<Accepted, Live>();

  /**
   * @param live returns all live connections, at each scrape; without it, bytes are counted when a connection closes
   */
  constructor(registry: LabeledRegistry, live: () => Iterable<CarriedConnection> = () => []) {
    this.#accepted = new CellFamily(METRICS.accepted, registry);
    this.#refused = new CellFamily(METRICS.refused, registry);
    this.#hello = new Durations(METRICS.helloSeconds, registry);
    this.#repeated = new CellFamily(METRICS.hellosRepeated, registry);
    this.#ofRoutes = new RouteFamilies(registry, () => this.#sample(live()));
  }

  accepted(connection: Accepted): void {
    const { listener } = connection;
    this.#acceptedBy.get(listener).value += 1;
    const series = this.#routes.get(NO_ROUTE);
    series.at(listener).active.value += 1;
    this.#live.set(connection, { series, helloAt: undefined, bytesUp: 0, bytesDown: 0 });
  }

  refused(listener: string, code: ProxyErrorCode): void {
    this.#refusedBy.get(listener).get(code).value += 1;
  }

  /**
   * @param trace trace of its ClientHello, if its protocol has one
   */
  sniffed(connection: Accepted, helloAt: number, trace?: number): void {
    const { listener, at } = connection;
    const live = this.#live.get(connection);
    if (live !== undefined) live.helloAt = helloAt;
    this.#helloBy.get(listener).observe(helloAt - at);
    if (trace !== undefined && this.#recent.hasSeen(trace)) this.#repeatedBy.get(listener).value += 1;
  }

  routed(connection: Accepted, route: string): void {
    const { listener } = connection;
    const live = this.#live.get(connection);
    if (live === undefined) return;
    seriesOf(live).at(listener).active.value -= 1;
    live.series = this.#routes.get(route);
    live.series.at(listener).active.value += 1;
  }

  dialFailed(connection: Accepted, code: ProxyErrorCode): void {
    const live = this.#live.get(connection);
    if (live !== undefined) seriesOf(live).dialFailures.get(code).value += 1;
  }

  connected(connection: Accepted, at: number): void {
    const live = this.#live.get(connection);
    if (live?.helloAt !== undefined) seriesOf(live).connect.observe(at - live.helloAt);
  }

  retried(connection: Accepted): void {
    const live = this.#live.get(connection);
    if (live !== undefined) seriesOf(live).retries.value += 1;
  }

  closed(facts: ClosedConnection): void {
    const { connection } = facts;
    const live = this.#live.get(connection);
    if (live === undefined) return;
    this.#live.delete(connection);
    const series = seriesOf(live);
    const here = series.at(connection.listener);
    here.active.value -= 1;
    here.closed.get(facts.error?.code ?? WELL_ENDED).value += 1;
    count(live, facts.transfer);
    ended(series, facts);
  }

  /** Drops the series of routes that no source has any more. */
  removed(names: readonly string[]): void {
    const gone = new Set<string>();
    for (const name of names) {
      const series = this.#routes.take(name);
      if (series === undefined) continue;
      series.handOverTo(this.#routes.get(NO_ROUTE));
      gone.add(name);
    }
    if (gone.size > 0) this.#ofRoutes.drop(gone);
  }

  /** Counts the bytes of live connections, which may last for days. */
  #sample(connections: Iterable<CarriedConnection>): void {
    for (const { connection, carried } of connections) {
      const live = this.#live.get(connection);
      if (live !== undefined) count(live, carried);
    }
  }
}

function ended(series: RouteSeries, { connection, connectedAt, closedAt, transfer }: ClosedConnection): void {
  const { firstByteAt } = transfer;
  if (connectedAt !== undefined && firstByteAt !== undefined) series.firstByte.observe(firstByteAt - connectedAt);
  series.lifetime.observe(closedAt - connection.at);
}

const NO_ROUTE = '';
const WELL_ENDED = 'OK';

/** The labels of `closed`. */
type CloseCode = ProxyErrorCode | typeof WELL_ENDED;

/** State of a live connection. */
interface Live {
  /** Series of its route; read it through {@link seriesOf}. */
  series: RouteSeries;
  helloAt: number | undefined;
  /** Bytes already counted. */
  bytesUp: number;
  bytesDown: number;
}

/** Counts the bytes carried since the last call; never negative, since counters cannot decrease. */
function count(live: Live, { bytesUp, bytesDown }: Pick<Progress, 'bytesUp' | 'bytesDown'>): void {
  const series = seriesOf(live);
  series.bytesUp.value += Math.max(0, bytesUp - live.bytesUp);
  series.bytesDown.value += Math.max(0, bytesDown - live.bytesDown);
  live.bytesUp = Math.max(live.bytesUp, bytesUp);
  live.bytesDown = Math.max(live.bytesDown, bytesDown);
}

/** Returns the series of the connection's route, or of the empty route name once the route has been removed. */
function seriesOf({ series }: Live): RouteSeries {
  return series.successor ?? series;
}

/** Metrics with a label `route`. */
class RouteFamilies {
  readonly active: CellFamily<'listener' | 'route'>;
  readonly closed: CellFamily<'listener' | 'route' | 'code' | 'side'>;
  readonly bytes: CellFamily<'route' | 'direction'>;
  readonly dialFailures: CellFamily<'route' | 'code'>;
  readonly retries: CellFamily<'route'>;
  readonly connect: Durations<'route'>;
  readonly firstByte: Durations<'route'>;
  readonly lifetime: Durations<'route'>;

  constructor(registry: LabeledRegistry, sample: () => void) {
    this.active = new CellFamily(METRICS.active, registry);
    this.closed = new CellFamily(METRICS.closed, registry);
    this.bytes = new CellFamily(METRICS.bytes, registry, sample);
    this.dialFailures = new CellFamily(METRICS.dialFailures, registry);
    this.retries = new CellFamily(METRICS.retries, registry);
    this.connect = new Durations(METRICS.connectSeconds, registry);
    this.firstByte = new Durations(METRICS.firstByteSeconds, registry);
    this.lifetime = new Durations(METRICS.lifetimeSeconds, registry);
  }

  drop(routes: ReadonlySet<string>): void {
    for (const family of [this.active, this.closed, this.bytes, this.dialFailures, this.retries])
      family.drop(({ route }) => routes.has(route));
    for (const durations of [this.connect, this.firstByte, this.lifetime])
      for (const route of routes) durations.drop({ route });
  }
}

/** The series of one route, each created at its first use. */
class RouteSeries {
  readonly #labels: { readonly route: string };
  readonly bytesUp: MetricCell;
  readonly bytesDown: MetricCell;
  readonly dialFailures: Memo<ProxyErrorCode, MetricCell>;
  /** The series that takes over its connections after the route's removal. */
  successor: RouteSeries | undefined;
  #connect: DurationCell | undefined;
  #firstByte: DurationCell | undefined;
  #lifetime: DurationCell | undefined;
  readonly #families: RouteFamilies;
  #retries: MetricCell | undefined;
  readonly #listeners = new Memo((listener: string) => this.#on(listener));

  constructor(route: string, families: RouteFamilies) {
    this.#labels = { route };
    this.#families = families;
    this.bytesUp = families.bytes.cell({ route, direction: 'up' });
    this.bytesDown = families.bytes.cell({ route, direction: 'down' });
    this.dialFailures = new Memo((code) => families.dialFailures.cell({ route, code }));
  }

  /** Time from the ClientHello to an established backend connection. */
  get connect(): DurationCell {
    return (this.#connect ??= this.#families.connect.cell(this.#labels));
  }

  /** Time from the established backend connection to the backend's first byte. */
  get firstByte(): DurationCell {
    return (this.#firstByte ??= this.#families.firstByte.cell(this.#labels));
  }

  /** Time from accept to close. */
  get lifetime(): DurationCell {
    return (this.#lifetime ??= this.#families.lifetime.cell(this.#labels));
  }

  /** Number of retries; created on demand, since most routes do not retry. */
  get retries(): MetricCell {
    return (this.#retries ??= this.#families.retries.cell(this.#labels));
  }

  /** Returns the series for connections of `listener`. */
  at(listener: string): ListenerCells {
    return this.#listeners.get(listener);
  }

  /** Moves the live connections of a removed route to `successor`. */
  handOverTo(successor: RouteSeries): void {
    this.successor = successor;
    for (const [listener, { active }] of this.#listeners) successor.at(listener).active.value += active.value;
  }

  #on(listener: string): ListenerCells {
    const labels = { ...this.#labels, listener };
    return {
      active: this.#families.active.cell(labels),
      closed: new Memo((code) => this.#families.closed.cell({ ...labels, code, side: sideOf(code) })),
    };
  }
}

/** The series of a route that also have a label `listener`. */
interface ListenerCells {
  readonly active: MetricCell;
  readonly closed: Memo<CloseCode, MetricCell>;
}

function sideOf(code: CloseCode): string {
  return code === WELL_ENDED ? 'none' : SIDES[code];
}
