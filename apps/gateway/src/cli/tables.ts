import { formatEndpoint } from '@meshgate/core';
import type { AccessRules, BackendDrain, HealthCheck } from '@meshgate/core';
import { formatDuration } from '@meshgate/core/parts';
import { columns } from './columns.ts';
import type { Explanation, ExplainedBackend, FoundRoute } from './explain.ts';
import type { Hop } from '../trace/hop.ts';
import type { Trace } from '../trace/traces.ts';
import type { BackendView, ConnectionView, RouteRulesView, RouteTableView, SourceView } from '../admin/views.ts';
import { printable } from '../log/printable.ts';

/**
 * Returns the output of `meshgate routes` in text form.
 *
 * @param width width of the terminal; unlimited when absent
 */
export function routesText({ routes, sources }: RouteTableView, width?: number): string {
  const all = [...routes];
  const hasSettings = all.some((route) => dialSettings(route) !== '');
  const rows = all.map(({ name, source, kind = '', serverNames, listeners, fallback, backends, ...dial }) => [
    name,
    [
      ...serverNames,
      ...(fallback === true ? ['(no name)'] : []),
      ...(listeners === undefined ? [] : [`on ${listeners.join(', ')}`]),
    ].join(' '),
    backends.map(backendText).join(' ') || 'none',
    ...(hasSettings ? [dialSettings(dial)] : []),
    kind,
    source,
  ]);
  const settings = hasSettings ? ['SETTINGS'] : [];
  const troubles = sources.flatMap((source) => [
    ...(source.state === 'current' ? [] : [`source ${source.name} is ${stateOf(source)}`]),
    ...source.warnings.map((warning) => `source ${source.name}: ${warning}`),
  ]);
  return lines([
    ...columns([['ROUTE', 'SERVER NAMES', 'BACKENDS', ...settings, 'KIND', 'SOURCE'], ...rows], { width }),
    ...troubles,
  ]);
}

/** Returns how backends are chosen and dialled, when that is not the default. */
function dialSettings({
  balance,
  layers = [],
}: {
  readonly balance?: string;
  readonly layers?: readonly string[];
}): string {
  return [...(balance === undefined ? [] : [balance]), ...layers].join(', ');
}

function stateOf({ state, lastSuccess, error }: SourceView): string {
  // The reason is one of the source's warnings.
  if (state === 'stale') return `stale since ${lastSuccess ?? 'the start'}`;
  return error === undefined ? state : `${state}: ${error}`;
}

/**
 * Returns the output of `meshgate connections` in text form.
 *
 * @param width width of the terminal; unlimited when absent
 */
export function connectionsText(connections: readonly ConnectionView[], width?: number): string {
  const rows = connections.map(
    ({ id, state, remote, serverName = '', route = '', backend = '', ageMs, idleMs, bytesUp, bytesDown }) => [
      id,
      state,
      remote,
      serverName,
      route,
      backend,
      formatDuration(ageMs),
      formatDuration(idleMs),
      `${bytesUp}`,
      `${bytesDown}`,
    ],
  );
  const head = ['ID', 'STATE', 'CLIENT', 'SERVER NAME', 'ROUTE', 'BACKEND', 'AGE', 'SILENT', 'BYTES UP', 'BYTES DOWN'];
  return lines(columns([head, ...rows], { width }));
}

/**
 * Returns the output of `meshgate explain` in text form.
 *
 * @param width width of the terminal; unlimited when absent
 */
export function explanationText(explanation: Explanation, width?: number): string {
  const { serverName, why } = explanation;
  if (explanation.found)
    return lines([`${serverName}: route ${explanation.route}, ${why}`, ...detailsOf(explanation, width)]);
  const hints = explanation.nearest.length === 0 ? [] : [`  nearest names: ${explanation.nearest.join(', ')}`];
  const exceptions = columns([...unknownOf(explanation), ...exceptionsOf(explanation)], { indent: '  ', width });
  return lines([`${serverName}: ${why}`, ...exceptions, ...hints]);
}

function detailsOf(found: FoundRoute, width: number | undefined): readonly string[] {
  const { kind, source, origin = {}, listeners, listenerAccess = [], balance, layers, backends, shadowed } = found;
  const rows = [
    ['source', source],
    ...(kind === undefined ? [] : [['kind', kind]]),
    ...Object.entries(origin),
    ...(listeners === undefined ? [] : [['listeners', listeners.join(', ')]]),
    ...(balance === undefined ? [] : [['balance', balance]]),
    ...(layers === undefined ? [] : [['layers', layers.join(', ')]]),
    ...choiceFacts(found),
    ...unknownOf(found),
    ...facts(listenerAccess.flatMap(({ listener, access }) => accessFacts(access, ` on ${listener}`))),
    ...rulesOf(found),
    ...exceptionsOf(found),
    ...shadowed.map((other) => ['shadows', `${other.route} (${other.pattern} of ${other.source})`]),
  ];
  const hasBackups = backends.some(({ priority }) => priority !== undefined);
  const backendRows = backends.map((backend) => [
    addressText(backend),
    ...(hasBackups ? [String(backend.priority ?? 0)] : []),
    String(backend.weight),
    [stateText(backend), ...labelStrings(backend)].join(', '),
  ]);
  const backendTable = [['BACKEND', ...(hasBackups ? ['PRIORITY'] : []), 'WEIGHT', 'STATE'], ...backendRows];
  const none =
    found.egress === undefined
      ? [`  no backend: connections are closed with ${found.withoutBackend ?? 'NO_BACKEND'}`]
      : [];
  const layout = { indent: '  ', width };
  return [...columns(rows, layout), ...(backendRows.length === 0 ? none : columns(backendTable, layout))];
}

function unknownOf({ unknownListeners = [] }: Explanation): readonly (readonly string[])[] {
  return unknownListeners.map((listener) => ['warning', `listener ${listener} does not exist`]);
}

function choiceFacts(found: FoundRoute): readonly (readonly string[])[] {
  const { failover, egress, priorityInUse, heldBack = [], preferred = {}, backends } = found;
  const labels = Object.entries(preferred).map(([label, value]) => `${label} ${value}`);
  const { minHealthy = 1, returnAfterMs = 0 } = failover ?? {};
  const returns = returnAfterMs === 0 ? 'at once' : `after ${formatDuration(returnAfterMs)}`;
  return [
    ...(failover === undefined ? [] : [['failover', `below ${minHealthy} healthy, returns ${returns}`]]),
    // Omits the lowest priority, which is the normal case.
    ...(priorityInUse !== undefined && backends.some(({ priority = 0 }) => priority < priorityInUse)
      ? [['in use', `backups of priority ${priorityInUse}`]]
      : []),
    ...(labels.length === 0 ? [] : [['preferred', `backends with ${labels.join(', ')}`]]),
    ...heldBack.map(({ priority, forMs }) => ['held back', `priority ${priority}, for ${formatDuration(forMs)} more`]),
    ...(egress === undefined ? [] : [['egress', `to the server name itself, port ${egress.port}`]]),
  ];
}

/** Returns the client-related settings of a route, one per line. */
function rulesOf(rules: RouteRulesView): readonly (readonly string[])[] {
  const { access = {}, limits = {}, proxyProtocol, healthCheck } = rules;
  const { retryBeforeFirstByte, onBackendRemoved, onBackendDown } = rules;
  return facts([
    ...accessFacts(access),
    ['limits', Object.entries(limits).map(([name, value]) => `${name} ${value}`)],
    ['PROXY protocol', proxyProtocol === undefined ? [] : [proxyProtocol]],
    ['health check', describeCheck(healthCheck)],
    ['retry', retryBeforeFirstByte === undefined ? [] : ['before the first byte']],
    ['removed backend', describeDrain(onBackendRemoved)],
    ['backend down', describeDrain(onBackendDown)],
  ]);
}

type ShownFact = readonly [name: string, parts: readonly string[]];

/** Returns the lists that are not empty. */
function facts(all: readonly ShownFact[]): readonly (readonly string[])[] {
  return all.flatMap(([name, parts]) => (parts.length === 0 ? [] : [[name, parts.join(', ')]]));
}

function accessFacts({ allow, deny, allowFile, denyFile }: AccessRules, where = ''): readonly ShownFact[] {
  const list = (entries: readonly string[] = [], file?: string): readonly string[] => [
    ...entries.slice(0, SHOWN_ENTRIES),
    ...(entries.length > SHOWN_ENTRIES ? [`and ${entries.length - SHOWN_ENTRIES} more`] : []),
    ...(file === undefined ? [] : [`those of ${file}`]),
  ];
  return [
    [`allow${where}`, list(allow, allowFile)],
    [`deny${where}`, list(deny, denyFile)],
  ];
}

function describeCheck(check: HealthCheck | undefined): readonly string[] {
  if (check === undefined) return [];
  const { kind, serverName, intervalMs, timeoutMs, rise, fall, slowStartMs, whenAllDown } = check;
  return [
    serverName === undefined ? kind : `${kind} of ${serverName}`,
    `every ${formatDuration(intervalMs)}`,
    `timeout ${formatDuration(timeoutMs)}`,
    `rise ${rise}`,
    `fall ${fall}`,
    ...(slowStartMs === undefined ? [] : [`slow start ${formatDuration(slowStartMs)}`]),
    ...(whenAllDown === 'refuse' ? ['refused when all are down'] : []),
  ];
}

function describeDrain(drain: BackendDrain | undefined): readonly string[] {
  if (drain === undefined) return [];
  const { graceMs, spreadMs } = drain;
  const when = graceMs === 0 ? 'at once' : `after ${formatDuration(graceMs)}`;
  return [`connections closed ${when}`, `spread over ${formatDuration(spreadMs)}`];
}

/** Maximum number of entries; `--json` has all of them. */
const SHOWN_ENTRIES = 5;

/** Returns the listeners on which another route matches the name. */
function exceptionsOf({ onListeners = [] }: Explanation): readonly (readonly string[])[] {
  return onListeners.map(({ listener, route, pattern, source }) => [
    `on ${listener}`,
    `route ${route} (${pattern} of ${source})`,
  ]);
}

function backendText(backend: ListedBackend): string {
  const isDown = backend.check?.addresses?.some(({ state }) => state === 'down') === true;
  const remarks = [
    ...labelStrings(backend),
    ...(backend.healthy ? [] : ['unhealthy']),
    ...(isDown ? ['check failed'] : []),
    ...(backend.ejected === true ? ['ejected'] : []),
    ...(backend.priority === undefined ? [] : [`priority ${backend.priority}`]),
  ];
  return remarks.length === 0 ? addressText(backend) : `${addressText(backend)} (${remarks.join(', ')})`;
}

/** A backend in a list of routes. */
type ListedBackend = BackendView & { readonly ejected?: boolean };

function labelStrings({ labels = {}, proxyProtocol }: BackendView): readonly string[] {
  const proxied = proxyProtocol === undefined ? [] : [`PROXY protocol ${proxyProtocol}`];
  return [...Object.entries(labels).map(([key, value]) => `${key} ${value}`), ...proxied];
}

function addressText({ host, port }: BackendView): string {
  return formatEndpoint({ host, port });
}

function stateText({ healthy, check, ejected }: ExplainedBackend): string {
  const failures = (check?.addresses ?? []).flatMap(({ host, port, state, failure }) =>
    state === 'down'
      ? [`check of ${formatEndpoint({ host, port })} failed: ${failure ?? 'not passed often enough yet'}`]
      : [],
  );
  return [healthy ? 'healthy' : 'unhealthy', ...failures, ...(ejected ? ['ejected after failures'] : [])].join(', ');
}

/** Returns the output of `meshgate trace` in text form: a block per connection, with a row per proxy on its path. */
export function tracesText(traces: readonly Trace[]): string {
  if (traces.length === 0) return 'no such connection\n';
  return traces
    .map(({ trace, hops }) => lines([traceTitle(trace, hops), ...hopRows(hops), ...reasonsOf(hops), '']))
    .join('');
}

function traceTitle(trace: string, hops: readonly Hop[]): string {
  const [first] = hops;
  const name = hops.find(({ serverName }) => serverName !== undefined)?.serverName ?? 'no server name';
  return `${trace}  ${name}  ${first === undefined ? '' : new Date(first.acceptedAt).toISOString()}`;
}

function hopRows(hops: readonly Hop[]): readonly string[] {
  const rows = hops.map((hop) => [
    hop.origin,
    hop.listener,
    hop.remote,
    hop.route ?? '-',
    hop.backend ?? '-',
    `${hop.bytesUp}/${hop.bytesDown}`,
    `${Math.round(hop.durationMs)} ms`,
    hop.ended,
  ]);
  const heading = ['LOG', 'LISTENER', 'CLIENT', 'ROUTE', 'BACKEND', 'BYTES UP/DOWN', 'TIME', 'ENDED'];
  return columns([heading, ...rows], { indent: '  ' });
}

function reasonsOf(hops: readonly Hop[]): readonly string[] {
  return hops.flatMap(({ origin, ended, reason }) =>
    reason === undefined ? [] : [`  ${origin}: ${ended}: ${reason}`],
  );
}

function lines(strings: readonly string[]): string {
  return strings.map((text) => `${printable(text)}\n`).join('');
}
