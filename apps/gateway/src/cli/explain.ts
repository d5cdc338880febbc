import type { AccessRules, Egress, Endpoint, Failover, ListenAddress } from '@meshgate/core';
import type { HealthChecks, HeldGroup, Match, MatchKind, RouteTable } from '@meshgate/core/parts';
import { parseServerName } from '@meshgate/sni';
import leven from 'leven';
import { backendView, balanceView, rulesView, withPriorityInUse } from '../admin/views.ts';
import type { BackendView, HeldView, RouteRulesView } from '../admin/views.ts';
import { describe } from '../config/config-messages.ts';
import { counted } from '../log/messages.ts';

/** Which route takes a server name, and why. The answer of `GET /explain` and of `meshgate explain --json`. */
export type Explanation = FoundRoute | NotFound;

/** There is a route. */
export interface FoundRoute extends ClaimingRoute, RouteRulesView {
  readonly found: true;
  /** As it was looked up: lower case, no trailing dot. */
  readonly serverName: string;
  /** What the source calls such a route; absent when it does not say. */
  readonly kind?: string;
  /** In one sentence. */
  readonly why: string;
  /** What made the route: facts of its source, such as the file and the line. */
  readonly origin?: Readonly<Record<string, string>>;
  /** How the next backend is chosen; absent when by `round_robin`. */
  readonly balance?: string;
  /** When a backup takes over; absent when as the priorities say. */
  readonly failover?: Failover;
  /** The route leads to the server name itself; absent when to its backends. */
  readonly egress?: Egress;
  /** The priority of the backends that are used now; absent where all have the same. */
  readonly priorityInUse?: number;
  /** Lower priorities that are well again, and held back; absent when there are none. */
  readonly heldBack?: readonly HeldView[];
  readonly backends: readonly ExplainedBackend[];
  /** The code with which connections end while there is no backend; absent while there is one. */
  readonly withoutBackend?: string;
  /** The listeners on which the route holds; absent when it holds on all of them. */
  readonly listeners?: readonly string[];
  /** Which clients get as far, on those of its listeners that do not let in everybody; absent where all of them do. */
  readonly listenerAccess?: readonly ListenerAccess[];
  /** Listeners that the route names, or that were asked for, and that do not exist; absent when there are none. */
  readonly unknownListeners?: readonly string[];
  /** Where other routes take the name than this one. Absent when a listener was asked for, or there are none. */
  readonly onListeners?: readonly ListenerClaim[];
  /** Routes that would take the name if this one did not, the next one first. */
  readonly shadowed: readonly ClaimingRoute[];
}

/** There is none: a client that asks for this name is turned away. */
interface NotFound {
  readonly found: false;
  readonly serverName: string;
  readonly why: string;
  /** The listener that was asked for, when it does not exist. */
  readonly unknownListeners?: readonly string[];
  /** Names in the table that look like it, the likeliest first. */
  readonly nearest: readonly string[];
  /** The listeners on which a route takes the name all the same. Absent when a listener was asked for, or there are none. */
  readonly onListeners?: readonly ListenerClaim[];
}

/** A listener that does not let in everybody. */
interface ListenerAccess {
  readonly listener: string;
  readonly access: AccessRules;
}

/** The route that takes a name on one listener. */
interface ListenerClaim extends ClaimingRoute {
  readonly listener: string;
}

/** What {@link explain} may know besides the table. */
export interface ExplainOptions {
  /** Whose connection it would be; routes of single listeners are told of apart when absent. */
  readonly listener?: string;
  /** Those that exist; nothing is said of unknown ones when absent. */
  readonly listeners?: readonly Pick<ListenAddress, 'name' | 'access'>[];
  /** Whether an address is ejected after failures; none is when absent. */
  isEjected?(address: Endpoint): boolean;
  /** Absent where nothing is checked. */
  readonly checks?: Pick<HealthChecks, 'reportOf'>;
  /** Priority groups that are held back; none when absent. */
  readonly held?: readonly HeldGroup[];
}

/** A route that claims a name. */
interface ClaimingRoute {
  readonly route: string;
  readonly source: string;
  readonly match: MatchKind;
  /** What the route claims: the name itself, `*.suffix` or `*`. */
  readonly pattern: string;
}

/** A backend, and what is thought of it. */
export interface ExplainedBackend extends BackendView {
  /** Put aside for a while, since dials to it failed in a row. Only known of addresses that are no DNS names. */
  readonly ejected: boolean;
}

/** A name that a client can ask for, as it would arrive; or why none can. */
export function requestedName(
  text: string,
): { readonly kind: 'name'; readonly serverName: string } | { readonly kind: 'impossible'; readonly why: string } {
  const verdict = parseServerName(text);
  if (verdict.kind === 'name') return verdict;
  return { kind: 'impossible', why: `no client can send ${describe(text)} as a server name: ${verdict.detail}` };
}

/** Explains what `table` does with a name, as it was typed. Pure. */
export function explain(name: string, table: RouteTable, options: ExplainOptions = {}): Explanation {
  const serverName = name.toLowerCase().replace(/\.$/, '');
  const requested = requestedName(name);
  const { listener, isEjected = () => false, checks, held } = options;
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
    ...withPriorityInUse(
      route,
      route.backends.map((backend) => ({
        ...backendView(backend, checks?.reportOf(route, backend.address)),
        ejected: isEjected(backend.address),
      })),
      held,
    ),
    ...(route.backends.length === 0 &&
      route.egress === undefined && { withoutBackend: route.withoutBackend ?? 'NO_BACKEND' }),
    ...exceptions,
    shadowed: others.map(claimOf),
  };
}

/**
 * Whether a route has exactly the name that was asked for. Consul takes any text as the name of a service, so that a route can have
 * a name that no client can send.
 */
export function isExact(explanation: Explanation): boolean {
  return explanation.found && explanation.match === 'exact';
}

/** @param named the listeners that matter; all of them when absent */
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

/** Where a route that names the listener takes `serverName` instead of `general`. */
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

/** More than these would be a list of everything. */
const SHOWN_NAMES = 3;

/** Those that a short name may stand for first (`api` for `api.default.dc2.internal…`), then those that differ by some letters. */
function nearestNames(serverName: string, table: RouteTable): readonly string[] {
  const longer = [...namesIn(table)].filter((name) => name.startsWith(`${serverName}.`)).toSorted();
  return [...new Set([...longer, ...similarNames(serverName, table)])].slice(0, SHOWN_NAMES);
}

function similarNames(serverName: string, table: RouteTable): readonly string[] {
  // Of three letters one may be wrong; further off it is another name.
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
