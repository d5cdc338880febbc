import type {
  AccessRules,
  Backend,
  BackendDrain,
  Egress,
  Failover,
  HealthCheck,
  Route,
  ProxyProtocolVersion,
  RouteLimits,
} from '@meshgate/core';
import { formatRate, isInService, nearestOf, priorityGroups } from '@meshgate/core/parts';
import type {
  CheckReport,
  HealthChecks,
  HeldGroup,
  LiveConnection,
  ListenerStatus,
  Preference,
  RouteTable,
  SourceStatus,
} from '@meshgate/core/parts';
import { formatEndpoint } from '@meshgate/core';
import type { DrainProgress, Endpoint } from '@meshgate/core';
import { shownTrace } from '../log/shown-trace.ts';
import { createHash } from 'node:crypto';
import { oneLine } from '../log/printable.ts';

/** A route in `GET /routes`. */
interface RouteView extends RouteRulesView {
  readonly name: string;
  readonly source: string;
  readonly kind?: string;
  readonly serverNames: readonly string[];
  /** Listeners to which the route applies; absent for all. */
  readonly listeners?: readonly string[];
  /**
   * Whether the route also accepts clients without a server name, or with an unknown protocol; absent when it does not.
   */
  readonly fallback?: true;
  readonly connectTimeoutMs: number;
  /** Balancing policy; absent for `round_robin`. */
  readonly balance?: string;
  /** Names of the plugins' layers around its connector, the outermost first; absent when there are none. */
  readonly layers?: readonly string[];
  /** When backups take over; absent for the default rule of priorities. */
  readonly failover?: Failover;
  /** The route forwards to the server name itself; absent when it has backends. */
  readonly egress?: Egress;
  /** Priority of the backends in use; absent when all backends have the same. */
  readonly priorityInUse?: number;
  /** Lower priorities that are healthy again, but held back; absent when there are none. */
  readonly heldBack?: readonly HeldView[];
  /** Labels of the preferred backends; absent when the gateway prefers none. */
  readonly preferred?: Readonly<Record<string, string>>;
  readonly backends: readonly (BackendView & {
    /** Ejected after consecutive dial failures; absent when not. Known only for IP addresses, not for DNS names. */
    readonly ejected?: true;
  })[];
}

/** A priority group that is held back after it was out of service. */
export interface HeldView {
  readonly priority: number;
  /**
   * Remaining time in milliseconds, which runs from the first connection that finds the group recovered; the longest
   * when workers differ.
   */
  readonly forMs: number;
}

/** Settings of a route's connections, in `GET /routes` and `explain`; absent when not set. */
export interface RouteRulesView {
  /** Which clients may use the route. */
  readonly access?: AccessRules;
  /** In the format of a route file. */
  readonly limits?: RouteLimitsView;
  /** How the client address is passed to backends. */
  readonly proxyProtocol?: ProxyProtocolVersion;
  /** How backends are checked. */
  readonly healthCheck?: HealthCheck;
  /** Whether a connection is retried that a backend closes before its first byte; absent when not. */
  readonly retryBeforeFirstByte?: true;
  /** How connections of a removed backend are closed; absent when they continue. */
  readonly onBackendRemoved?: BackendDrain;
  /** How connections of a backend that is down are closed; absent when they continue. */
  readonly onBackendDown?: BackendDrain;
}

/** The limits of a route. */
interface RouteLimitsView extends Pick<RouteLimits, 'connections' | 'perBackend'> {
  readonly rate?: string;
  readonly maxAge?: string;
  readonly idleTimeout?: string;
  readonly halfCloseTimeout?: string;
}

export function rulesView(route: Route): RouteRulesView {
  const { access, limits, proxyProtocol, healthCheck } = route;
  const { retryBeforeFirstByte, onBackendRemoved, onBackendDown } = route;
  return {
    ...(access !== undefined && { access }),
    ...(limits !== undefined && { limits: limitsView(limits) }),
    ...(proxyProtocol !== undefined && proxyProtocol !== 'off' && { proxyProtocol }),
    ...(healthCheck !== undefined && { healthCheck }),
    ...(retryBeforeFirstByte === true && { retryBeforeFirstByte }),
    ...(onBackendRemoved !== undefined && { onBackendRemoved }),
    ...(onBackendDown !== undefined && { onBackendDown }),
  };
}

function limitsView({ rate, maxAgeMs, idleTimeoutMs, halfCloseTimeoutMs, ...counts }: RouteLimits): RouteLimitsView {
  return {
    ...counts,
    ...(rate !== undefined && { rate: formatRate(rate) }),
    ...(maxAgeMs !== undefined && { maxAge: written(maxAgeMs) }),
    ...(idleTimeoutMs !== undefined && { idleTimeout: written(idleTimeoutMs) }),
    ...(halfCloseTimeoutMs !== undefined && { halfCloseTimeout: written(halfCloseTimeoutMs) }),
  };
}

/** Formats a time as in a route file: `12h`, `90s`, `off`. */
function written(ms: number): string {
  if (!Number.isFinite(ms)) return 'off';
  const [unit, length] = UNITS.find(([, unitMs]) => ms % unitMs === 0) ?? ['ms', 1];
  return `${ms / length}${unit}`;
}

const UNITS = [
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
] as const;

/** A backend in `GET /routes`. */
export interface BackendView {
  readonly host: string;
  readonly port: number;
  readonly weight: number;
  /** Health as reported by the source, and by health checks if there are any. */
  readonly healthy: boolean;
  /** Results of its health checks; absent when it has none. */
  readonly check?: CheckView;
  /** Priority, of which a lower one is preferred; absent when 0. */
  readonly priority?: number;
  /** Location of the backend, such as its zone; absent when unknown. */
  readonly labels?: Readonly<Record<string, string>>;
  /** How the client address is passed to this backend; absent when its route decides. */
  readonly proxyProtocol?: ProxyProtocolVersion | 'off';
}

/** Health checks of a backend. */
interface CheckView {
  /** `unknown`: not checked yet, which counts as up. */
  readonly state: CheckReport['state'];
  /** One per address, since a name may have several. Times are in ISO 8601. */
  readonly addresses: readonly {
    readonly host: string;
    readonly port: number;
    readonly state: CheckReport['state'];
    readonly since: string;
    readonly checkedAt?: string;
    /** Why the last check failed; absent when it passed. */
    readonly failure?: string;
  }[];
}

/** A source in `GET /routes`. */
export interface SourceView {
  readonly name: string;
  readonly state: SourceStatus['state'];
  readonly routes: number;
  /** Time of the last confirmation of its routes, in ISO 8601; absent when the source never had a snapshot. */
  readonly lastSuccess?: string;
  /** Why the source is `failing`, or the first reason why it is `stale`. */
  readonly error?: string;
  readonly warnings: readonly string[];
}

/** The response of `GET /routes`, and the output of `meshgate routes --json`. */
export interface RouteTableView {
  /** Equal versions mean equal routes of all sources. */
  readonly version: string;
  readonly routes: Iterable<RouteView>;
  readonly sources: readonly SourceView[];
}

/** The known state of routes. */
export interface KnownRoutes {
  readonly table: RouteTable;
  readonly sources: readonly SourceStatus[];
}

/** State that is added to the routes of sources. */
export interface RouteFacts {
  /** Connect timeout in milliseconds for routes without their own. */
  readonly connectTimeoutMs: number;
  /** Whether an address is ejected after failures; no address is when absent. */
  isEjected?(address: Endpoint): boolean;
  /** Absent without health checks. */
  readonly checks?: Pick<HealthChecks, 'reportOf'> | undefined;
  /** Priority groups that workers hold back; none when absent. */
  readonly held?: readonly HeldGroup[] | undefined;
  /** Labels of the preferred backends; none when absent. */
  readonly prefer?: Preference | undefined;
}

/** Returns the response of `GET /routes`. */
export function routesView({ table, sources }: KnownRoutes, facts: RouteFacts): RouteTableView {
  return { version: versionOf(table), routes: routeViews(table, facts), sources: sources.map(sourceView) };
}

/** Generates the views one by one, so that a table of 100,000 routes is not in memory twice. */
function* routeViews(table: RouteTable, facts: RouteFacts): Generator<RouteView> {
  for (const { source, routes } of table.indexes) {
    for (const route of routes.values()) yield routeView(route, source, facts);
  }
}

function routeView(route: Route, source: string, facts: RouteFacts): RouteView {
  const ofBackend = (backend: Backend): RouteView['backends'][number] => ({
    ...backendView(backend, facts.checks?.reportOf(route, backend.address)),
    ...(facts.isEjected?.(backend.address) === true && { ejected: true }),
  });
  return {
    name: route.name,
    source,
    ...(route.kind !== undefined && { kind: route.kind }),
    serverNames: route.serverNames,
    ...(route.listeners !== undefined && { listeners: route.listeners }),
    ...(route.fallback === true && { fallback: true }),
    connectTimeoutMs: route.connectTimeoutMs ?? facts.connectTimeoutMs,
    ...balanceView(route),
    ...rulesView(route),
    ...choiceView(route, route.backends.map(ofBackend), facts),
  };
}

/** The backends in use, according to the known state. */
interface ChoiceView {
  readonly priorityInUse?: number;
  readonly heldBack?: readonly HeldView[];
  readonly preferred?: Readonly<Record<string, string>>;
}

/** Returns `backends`, and which of them are in use. */
export function choiceView<View extends BackendView & { readonly ejected?: boolean }>(
  route: Route,
  backends: readonly View[],
  { held, prefer = {} }: Pick<RouteFacts, 'held' | 'prefer'>,
): ChoiceView & { readonly backends: readonly View[] } {
  const priorities = prioritiesView(route, backends, held);
  const used = backends.filter(({ priority = 0 }) => priority === (priorities.priorityInUse ?? priority));
  return { backends, ...priorities, ...preferredView(used, prefer) };
}

function isTrusted({ healthy, ejected }: BackendView & { readonly ejected?: boolean }): boolean {
  return healthy && ejected !== true;
}

/** Returns the priority in use, and the groups that are held back although they are healthy. */
function prioritiesView(
  { name, failover }: Route,
  backends: readonly BackendView[],
  held: readonly HeldGroup[] = [],
): ChoiceView {
  const groups = priorityGroups(backends, isTrusted);
  if (groups.size < 2) return {};
  const heldFor = new Map<number, number>();
  for (const { route, priority, forMs } of held)
    if (route === name) heldFor.set(priority, Math.max(forMs, heldFor.get(priority) ?? 0));
  const inService = Array.from(groups).flatMap(([priority, group]) => (isInService(group, failover) ? [priority] : []));
  const ready = inService.filter((priority) => !heldFor.has(priority));
  const used = [ready, inService, [...groups.keys()]].find((some) => some.length > 0) ?? [];
  const priorityInUse = Math.min(...used);
  const heldBack = inService.flatMap((priority) => {
    const forMs = heldFor.get(priority);
    return forMs === undefined || priority >= priorityInUse ? [] : [{ priority, forMs: Math.round(forMs) }];
  });
  return { priorityInUse, ...(heldBack.length > 0 && { heldBack }) };
}

/** Returns the labels that distinguish the preferred backends. */
function preferredView(backends: readonly BackendView[], prefer: Preference): ChoiceView {
  const trusted = backends.filter(isTrusted);
  const preferences = Object.entries(prefer);
  const nearest = nearestOf(trusted, preferences);
  if (nearest.length === trusted.length) return {};
  const shared = preferences.filter(([label, value]) => nearest.every(({ labels }) => labels?.[label] === value));
  return { preferred: Object.fromEntries(shared) };
}

/** Returns the settings of dials that differ from the defaults; parts of plugins by their names. */
export function balanceView({
  balance,
  use = [],
  failover,
  egress,
}: Route): Pick<RouteView, 'balance' | 'layers' | 'failover' | 'egress'> {
  return {
    ...(balance !== undefined && { balance: typeof balance === 'string' ? balance : balance.name }),
    ...(use.length > 0 && { layers: use.map(({ name }) => name) }),
    ...(failover !== undefined && { failover }),
    ...(egress !== undefined && { egress }),
  };
}

/** Returns the view of a backend in all responses. */
export function backendView(backend: Backend, report?: CheckReport): BackendView {
  const { address, weight, healthy, priority = 0, labels, proxyProtocol } = backend;
  return {
    ...address,
    weight,
    healthy: healthy && report?.state !== 'down',
    ...(report !== undefined && { check: checkView(report) }),
    ...(priority > 0 && { priority }),
    ...(labels !== undefined && { labels }),
    ...(proxyProtocol !== undefined && { proxyProtocol }),
  };
}

function checkView({ state, addresses }: CheckReport): CheckView {
  return {
    state,
    addresses: addresses.map(({ address, since, checkedAt, ...rest }) => ({
      ...address,
      ...rest,
      since: since.toISOString(),
      ...(checkedAt !== undefined && { checkedAt: checkedAt.toISOString() }),
    })),
  };
}

/** Returns the view of a source's state. */
export function sourceView({ name, state, routes, lastSuccess, error, warnings }: SourceStatus): SourceView {
  const reason = error?.message ?? (state === 'stale' ? warnings[0] : undefined);
  return {
    name,
    state,
    routes,
    ...(lastSuccess !== undefined && { lastSuccess: lastSuccess.toISOString() }),
    ...(reason !== undefined && { error: oneLine(reason) }),
    warnings,
  };
}

function versionOf({ indexes }: RouteTable): string {
  const versions = indexes.map(({ source, snapshot }) => [source, snapshot.version]);
  return createHash('sha256').update(JSON.stringify(versions)).digest('hex').slice(0, VERSION_CHARS);
}

/** Long enough to distinguish all tables of one gateway. */
const VERSION_CHARS = 16;

/** A live connection in `GET /connections`. */
export interface ConnectionView {
  readonly id: string;
  readonly state: LiveConnection['state'];
  readonly listener: string;
  readonly remote: string;
  readonly serverName?: string;
  /** Trace, as in the access log. */
  readonly trace?: string;
  readonly route?: string;
  /** Address of the last dial. */
  readonly backend?: string;
  /** The backend as its route names it, if that is a DNS name; absent until it is connected. */
  readonly backendName?: string;
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Milliseconds since the accept. */
  readonly ageMs: number;
  /** Milliseconds since the last byte in either direction. */
  readonly idleMs: number;
}

/** Returns the views of the current live connections. */
export function connectionsView(live: readonly LiveConnection[]): readonly ConnectionView[] {
  const now = performance.now();
  return live.map((one) => connectionView(one, now));
}

/** @param now monotonic milliseconds */
function connectionView(live: LiveConnection, now: number): ConnectionView {
  const { connection, hello, route, dialled } = live;
  return {
    id: connection.id,
    state: live.state,
    listener: connection.listener,
    remote: formatEndpoint(connection.remote),
    ...(hello?.serverName !== undefined && { serverName: hello.serverName }),
    ...shownTrace(live),
    ...(route !== undefined && { route: route.name }),
    ...(dialled !== undefined && { backend: formatEndpoint(dialled) }),
    ...backendNameOf(live),
    bytesUp: live.bytesUp,
    bytesDown: live.bytesDown,
    ageMs: Math.round(now - connection.at),
    idleMs: Math.round(now - live.lastByteAt),
  };
}

function backendNameOf({ upstream }: LiveConnection): Pick<ConnectionView, 'backendName'> {
  if (upstream === undefined) return {};
  const backendName = formatEndpoint(upstream.backend.address);
  return backendName === formatEndpoint(upstream.address) ? {} : { backendName };
}

/** A listener in `GET /listeners` and in the log line `ready`. */
export interface ListenerView {
  readonly name: string;
  readonly host: string;
  /** The bound port, or the configured one while it is not bound. */
  readonly port: number;
  readonly bound: boolean;
  /** Which clients may connect; absent when all may. */
  readonly access?: AccessRules;
}

export function listenerView({ name, endpoint, address, access }: ListenerStatus): ListenerView {
  return { name, ...(address ?? endpoint), bound: address !== undefined, ...(access !== undefined && { access }) };
}

/** Returns the progress of a drain in `GET /drain`, with times in whole milliseconds. */
export function drainView(progress: DrainProgress): DrainProgress {
  return { ...progress, remainingMs: Math.round(progress.remainingMs) };
}
