import type { AccessRules, Egress, Endpoint, Failover, ListenAddress } from '@meshgate/core';
import type { HealthChecks, HeldGroup, Match, MatchKind, Preference, RouteTable } from '@meshgate/core/parts';
import { parseServerName } from '@meshgate/sni';
import leven from 'leven';
import { backendView, balanceView, choiceView, rulesView } from '../admin/views.ts';
import type { BackendView, HeldView, RouteRulesView } from '../admin/views.ts';
import { describe } from '../config/config-messages.ts';
import { counted } from '../log/messages.ts';

/**
 * The route that matches a server name, and why. The response of `GET /explain`, and the output of
 * `meshgate explain --json`.
 */
export type Explanation = FoundRoute | NotFound;

/** The matching route. */
export interface FoundRoute extends ClaimingRoute, RouteRulesView {
  readonly found: true;
  /** The name that was looked up: lower case, without a trailing dot. */
  readonly serverName: string;
  /** The source's kind of this route; absent when the source sets none. */
  readonly kind?: string;
  /** The reason, in one sentence. */
  readonly why: string;
  /** Facts from the source about the origin of the route, such as file and line. */
  readonly origin?: Readonly<Record<string, string>>;
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
  readonly backends: readonly ExplainedBackend[];
  /** Error code of connections while there is no backend; absent while there is one. */
  readonly withoutBackend?: string;
  /** Listeners to which the route applies; absent for all. */
  readonly listeners?: readonly string[];
  /** Access rules of those of its listeners that restrict clients; absent when none does. */
  readonly listenerAccess?: readonly ListenerAccess[];
  /** Unknown listeners that the route or the query names; absent when there are none. */
  readonly unknownListeners?: readonly string[];
  /** Listeners on which other routes match the name. Absent when the query names a listener, or when there are none. */
  readonly onListeners?: readonly ListenerClaim[];
  /** Routes that would match the name without this one, in order. */
  readonly shadowed: readonly ClaimingRoute[];
}

/** No route matches: a client with this name is rejected. */
interface NotFound {
  readonly found: false;
  readonly serverName: string;
  readonly why: string;
  /** The listener in the query, if it does not exist. */
  readonly unknownListeners?: readonly string[];
  /** Similar names in the table, the closest first. */
  readonly nearest: readonly string[];
  /** Listeners on which a route matches the name. Absent when the query names a listener, or when there are none. */
  readonly onListeners?: readonly ListenerClaim[];
}

/** A listener that restricts clients. */
interface ListenerAccess {
  readonly listener: string;
  readonly access: AccessRules;
}

/** The route that matches a name on one listener. */
interface ListenerClaim extends ClaimingRoute {
  readonly listener: string;
}

/** Optional inputs of {@link explain}. */
export interface ExplainOptions {
  /** Listener of the connection; when absent, routes of single listeners are listed separately. */
  readonly listener?: string;
  /** The existing listeners; when absent, unknown listeners are not reported. */
  readonly listeners?: readonly Pick<ListenAddress, 'name' | 'access'>[];
  /** Whether an address is ejected after failures; no address is when absent. */
  isEjected?(address: Endpoint): boolean;
  /** Absent without health checks. */
  readonly checks?: Pick<HealthChecks, 'reportOf'>;
  /** Priority groups that are held back; none when absent. */
  readonly held?: readonly HeldGroup[];
  /** Labels of the preferred backends; none when absent. */
  readonly prefer?: Preference | undefined;
}

/** A route that matches a name. */
interface ClaimingRoute {
  readonly route: string;
  readonly source: string;
  readonly match: MatchKind;
  /** The pattern that matched: the name itself, `*.suffix` or `*`. */
  readonly pattern: string;
}

/** A backend and its state. */
export interface ExplainedBackend extends BackendView {
  /** Ejected for a while after consecutive dial failures. Known only for IP addresses, not for DNS names. */
  readonly ejected: boolean;
}

/** Returns a name as a client sends it, or why no client can send it. */
export function requestedName(
  text: string,
): { readonly kind: 'name'; readonly serverName: string } | { readonly kind: 'impossible'; readonly why: string } {
  const verdict = parseServerName(text);
  if (verdict.kind === 'name') return verdict;
  return { kind: 'impossible', why: `no client can send ${describe(text)} as a server name: ${verdict.detail}` };
}

/** Explains which route of `table` matches a name as typed. Pure. */
export function explain(name: string, table: RouteTable, options: ExplainOptions = {}): Explanation {
  const serverName = name.toLowerCase().replace(/\.$/, '');
  const requested = requestedName(name);
  const { listener, isEjected = () => false, checks } = options;
  const [match, ...others] = table.matches(serverName, listener);
  const elsewhere = listener === undefined ? onListeners(serverName, table, match) : [];
  const exceptions = elsewhere.length === 0 ? {} : { onListeners: elsewhere };
  const unknown = unknownAmong(
    [...(listener === undefined ? [] : [listener]), ...(match?.route.listeners ?? [])],
    options,
  );
  if (match === undefined) return { ...notFound(serverName, table), ...unknown, ...exceptions };
  const { route } = match;
  return {
    found: true,
    serverName,
    ...claimOf(match),
    ...(route.kind !== undefined && { kind: route.kind }),
    why: requested.kind === 'name' ? reason(match, others) : `${reason(match, others)}, but ${requested.why}`,
    ...(route.origin !== undefined && { origin: route.origin }),
    ...(route.listeners !== undefined && { listeners: route.listeners }),
    ...balanceView(route),
    ...accessBefore(listener === undefined ? route.listeners : [listener], options),
    ...unknown,
    ...rulesView(route),
    ...choiceView(
      route,
      route.backends.map((backend) => ({
        ...backendView(backend, checks?.reportOf(route, backend.address)),
        ejected: isEjected(backend.address),
      })),
      options,
    ),
    ...(route.backends.length === 0 &&
      route.egress === undefined && { withoutBackend: route.withoutBackend ?? 'NO_BACKEND' }),
    ...exceptions,
    shadowed: others.map(claimOf),
  };
}

/**
 * Whether a route has exactly the requested name. Consul accepts any string as the name of a service, so that a route
 * can have a name that no client can send.
 */
export function isExact(explanation: Explanation): boolean {
  return explanation.found && explanation.match === 'exact';
}

/** @param named the relevant listeners; all when absent */
function accessBefore(
  named: readonly string[] | undefined,
  { listeners = [] }: ExplainOptions,
): Pick<FoundRoute, 'listenerAccess'> {
  const listenerAccess = listeners.flatMap(({ name: listener, access }) =>
    access === undefined || named?.includes(listener) === false ? [] : [{ listener, access }],
  );
  return listenerAccess.length === 0 ? {} : { listenerAccess };
}

function unknownAmong(
  named: readonly string[],
  { listeners }: ExplainOptions,
): { readonly unknownListeners?: readonly string[] } {
  const unknown = named.filter((one) => listeners !== undefined && !listeners.some(({ name }) => name === one));
  return unknown.length === 0 ? {} : { unknownListeners: Array.from(new Set(unknown)) };
}

/** Returns the listeners on which another route than `general` matches `serverName`, because it names the listener. */
function onListeners(serverName: string, table: RouteTable, general: Match | undefined): readonly ListenerClaim[] {
  return table.listeners.flatMap((listener) => {
    const [match] = table.matches(serverName, listener);
    return match === undefined || match.route === general?.route ? [] : [{ listener, ...claimOf(match) }];
  });
}

function notFound(serverName: string, table: RouteTable): NotFound {
  const why = `no route matches the name, a suffix of it, or * (${counted(table.size, 'route')} in the table)`;
  return { found: false, serverName, why, nearest: nearestNames(serverName, table) };
}

function claimOf({ kind, pattern, source, route }: Match): ClaimingRoute {
  return { route: route.name, source, match: kind, pattern };
}

function reason({ kind, source, pattern }: Match, others: readonly Match[]): string {
  const own = {
    exact: 'exact match',
    suffix: `longest suffix match: ${pattern}`,
    any: 'no exact or suffix match; * matches every name',
  }[kind];
  const rivals = others.filter((other) => other.pattern === pattern).map((other) => other.source);
  return rivals.length === 0 ? own : `${own}; source ${source} takes precedence over ${rivals.join(', ')}`;
}

/** Enough to help; more would list everything. */
const SHOWN_NAMES = 3;

/**
 * Returns similar names: first those that a short name may abbreviate (`api` for `api.default.dc2.internal…`), then
 * those that differ by a few letters.
 */
function nearestNames(serverName: string, table: RouteTable): readonly string[] {
  const longer = [...namesIn(table)].filter((name) => name.startsWith(`${serverName}.`)).toSorted();
  return [...new Set([...longer, ...similarNames(serverName, table)])].slice(0, SHOWN_NAMES);
}

function similarNames(serverName: string, table: RouteTable): readonly string[] {
  // At most one letter in three may differ: beyond that it is another name.
  const maxDistance = Math.max(1, Math.floor(serverName.length / 3));
  const near: { readonly name: string; readonly distance: number }[] = [];
  for (const name of namesIn(table)) {
    const distance = leven(serverName, name, { maxDistance: maxDistance + 1 });
    if (distance <= maxDistance) near.push({ name, distance });
  }
  near.sort((one, other) => one.distance - other.distance || (one.name < other.name ? -1 : 1));
  return near.map(({ name }) => name);
}

function* namesIn({ indexes }: RouteTable): Generator<string> {
  for (const index of indexes) {
    for (const { exact, suffixes } of [index, ...index.listeners.values()]) {
      yield* exact.keys();
      for (const suffix of suffixes.keys()) yield `*${suffix}`;
    }
  }
}
