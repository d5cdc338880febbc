import { formatEndpoint } from '@meshgate/core';
import type { Observer, ProxyEvent } from '@meshgate/core';
import { formatDuration } from '@meshgate/core/parts';
import { certificateTrouble } from './certificate-trouble.ts';
import { FailureLog } from './failure-log.ts';
import type { Logger } from './logger.ts';
import { haveSameRoutes, routeChanges } from './route-changes.ts';
import type { HealthChange, BoundedList, RouteChanges } from './route-changes.ts';
import { counted, lineOf } from './messages.ts';
import type { LogLine } from './messages.ts';

/** Logs gateway events. Connection events go to the access log, except for bugs and refusals. */
export function logObserver(logger: Logger): Observer {
  /** Current warnings that the log has, by source; with an entry since the first line of one, until all are cleared. */
  const warnings = new Map<string, ReadonlySet<string>>();
  const hasRoutes = new Set<string>();
  const failures = new FailureLog();
  return { name: 'log', observe };

  function observe(event: ProxyEvent): void {
    if (event.type === 'source.updated') recover(event.source);
    const line = lineFor(event);
    if (line !== undefined) write(line);
    if (event.type === 'routes.replaced') writeWarnings(event.source, event.snapshot.warnings ?? []);
  }

  function lineFor(event: ProxyEvent): LogLine | undefined {
    // The table is complete by its type, but the compiler cannot verify that each event goes to the writer of its type.
    const writer = LINES[event.type] as LineWriter<ProxyEvent> | undefined;
    const line = writer?.(event, { hasRoutes });
    if (line === undefined) return undefined;
    const thing = failingThing(event);
    if (thing === undefined) return line;
    const report = failures.failed(thing, line.message);
    if (report.kind === 'silent') return undefined;
    const { failingForMs, repeats } = report;
    const repeated = repeats === 0 ? {} : { repeats, failingForSeconds: Math.round(failingForMs / 1_000) };
    return { ...line, facts: { ...line.facts, ...repeated } };
  }

  function recover(source: string): void {
    hasRoutes.add(source);
    const failedForMs = failures.recovered(thingOf('source', source));
    if (failedForMs !== undefined)
      write(lineOf('sourceRecovered', { duration: formatDuration(Math.round(failedForMs)) }, { source }));
  }

  /**
   * Logs each warning when it first appears, since sources repeat warnings with every snapshot; one that comes and goes,
   * once a minute.
   */
  function writeWarnings(source: string, now: readonly string[]): void {
    const logged = warnings.get(source) ?? new Set();
    const isDue = (warning: string): boolean =>
      failures.failed(thingOf('warning', `${source} ${warning}`), warning).kind === 'line';
    const current = now.filter((warning) => {
      if (logged.has(warning)) return true;
      if (!isDue(warning)) return false;
      write(lineOf('sourceWarning', { warning }, { source }));
      return true;
    });
    if (now.length === 0) {
      if (warnings.delete(source)) write(lineOf('sourceWarningsCleared', {}, { source }));
    } else if (current.length > 0 || warnings.has(source)) warnings.set(source, new Set(current));
  }

  function write({ level, facts, message }: LogLine): void {
    logger[level](facts, message);
  }
}

/** Returns the failing subject of `event`; `undefined` for an event that is not a repeatable failure. */
function failingThing(event: ProxyEvent): string | undefined {
  switch (event.type) {
    case 'source.failed':
    case 'source.refused':
      return thingOf('source', event.source);
    case 'listener.failed':
    case 'listener.paused':
    case 'listener.resumed':
    case 'connection.refused':
      return thingOf(event.type, event.listener);
    case 'path.impaired':
      return thingOf(event.type, event.side === 'upstream' ? formatEndpoint(event.address) : event.problem);
    case 'resolution.failed':
      return thingOf('name', event.host);
    case 'backend.ejected':
    case 'backend.returned':
      return thingOf(event.type, formatEndpoint(event.address));
    case 'balance.failed':
      return thingOf('balance', event.balance);
    case 'service.failed':
      return thingOf('service', event.service);
    case 'observer.threw':
      return thingOf('observer', event.observer);
    case 'connection.closed':
      return event.closed.error?.code === 'INTERNAL' ? thingOf('internal', '') : undefined;
    default:
      return undefined;
  }
}

function thingOf(kind: string, name: string): string {
  return `${kind} ${name}`;
}

type LoggedEvent<Type extends ProxyEvent['type']> = Extract<ProxyEvent, { type: Type }>;

/** State on which lines depend, besides their event. */
interface Known {
  /** Sources that have yielded routes. */
  readonly hasRoutes: ReadonlySet<string>;
}

type LineWriter<Event> = (event: Event, known: Known) => LogLine | undefined;

function sourceFailure(event: LoggedEvent<'source.failed' | 'source.refused'>, { hasRoutes }: Known): LogLine {
  const { source, error } = event;
  const facts = { source, ...('retryInMs' in event && { retryInMs: Math.round(event.retryInMs) }) };
  const reason = error.message;
  return lineOf(hasRoutes.has(source) ? 'sourceFailed' : 'sourceFailedWithoutRoutes', { reason }, facts);
}

const LINES: { readonly [Type in ProxyEvent['type']]: LineWriter<LoggedEvent<Type>> | undefined } = {
  'connection.accepted': undefined,
  'connection.sniffed': undefined,
  'connection.routed': undefined,
  'connection.connected': undefined,
  'connection.closed': ({ closed: { connection, error } }) => {
    if (error === undefined) return undefined;
    const facts = { id: connection.id, code: error.code };
    if (error.code !== 'INTERNAL') return { level: 'debug', message: error.message, facts };
    return lineOf('internalError', { reason: error.message }, { ...facts, err: error });
  },
  'connection.retried': ({ connection, upstream, error }) => ({
    level: 'debug',
    message: `backend ${error === undefined ? 'closed' : 'lost'} before its first byte, trying another one`,
    facts: { id: connection.id, route: upstream.route.name, backend: formatEndpoint(upstream.address) },
  }),
  'connection.refused': ({ listener, remote, error }) =>
    lineOf(
      'connectionsRefused',
      { reason: error.message },
      { listener, remote: formatEndpoint(remote), code: error.code },
    ),
  'dial.failed': ({ connection, route, address, error }) => ({
    level: 'debug',
    message: `dial failed: ${error.message}`,
    facts: { id: connection.id, route: route.name, backend: formatEndpoint(address), code: error.code },
  }),
  'backend.checked': undefined,
  'backend.down': ({ reason, ...event }) =>
    lineOf('backendDown', { kind: event.check.kind, reason }, checkFacts(event)),
  'backend.up': ({ downMs, ...event }) =>
    lineOf('backendUp', { kind: event.check.kind, duration: formatDuration(Math.round(downMs)) }, checkFacts(event)),
  'backend.unchecked': undefined,
  'backend.departed': ({ route: { name: route }, backend, why, drain: { graceMs }, connections }) =>
    lineOf(
      'backendDeparted',
      {
        route,
        change: why === 'removed' ? 'was removed' : 'is down',
        connections: counted(connections, 'connection'),
        when: graceMs === 0 ? 'now' : `after ${formatDuration(graceMs)}`,
      },
      { route, backend: formatEndpoint(backend), connections },
    ),
  'route.failover': ({ route: { name: route }, priority, previous }) =>
    lineOf(
      'routeFailover',
      { route, priority: String(priority), previous: String(previous) },
      { route, priority, previous },
    ),
  'balance.failed': ({ route, balance, error }) =>
    lineOf('balanceFailed', { balance, reason: error.message }, { route: route.name, ...stackOf(error, false) }),
  'backend.ejected': ({ address, failures, forMs }) =>
    lineOf(
      'backendEjected',
      { duration: formatDuration(forMs), failures: `${failures} consecutive failure${failures === 1 ? '' : 's'}` },
      { backend: formatEndpoint(address) },
    ),
  'backend.returned': ({ address }) => lineOf('backendReturned', {}, { backend: formatEndpoint(address) }),
  'path.impaired': ({ address, reason, problem, side }) =>
    lineOf('pathImpaired', { address: formatEndpoint(address), reason }, { problem, side }),
  'resolution.failed': ({ host, error, lastGood }) =>
    lineOf(lastGood ? 'resolutionFailed' : 'resolutionFailedWithoutAddress', { reason: error.message }, { host }),
  'listener.opened': ({ listener, address }) => lineOf('listening', { address: formatEndpoint(address) }, { listener }),
  'listener.failed': ({ listener, address, error, retryInMs }) =>
    lineOf(
      'cannotListen',
      { address: formatEndpoint(address), reason: error.message },
      { listener, retryInMs: Math.round(retryInMs) },
    ),
  'listener.paused': ({ listener, reason }) => lineOf('acceptPaused', { reason: reason.message }, { listener }),
  'listener.resumed': ({ listener }) => lineOf('acceptResumed', {}, { listener }),
  'listener.closed': ({ listener }) => lineOf('listenerClosed', {}, { listener }),
  'routes.replaced': ({ source, snapshot, previous, removed, tookMs }) =>
    previous !== undefined && haveSameRoutes(previous, snapshot)
      ? undefined
      : lineOf(
          'routesUpdated',
          { routes: counted(snapshot.routes.length, 'route') },
          {
            source,
            version: snapshot.version,
            removed: removed.length,
            ...(previous !== undefined && changeFacts(routeChanges(previous, snapshot))),
            tookMs: Math.round(tookMs),
          },
        ),
  'source.removed': ({ source, removed }) => lineOf('sourceRemoved', {}, { source, removed: removed.length }),
  'source.updated': undefined,
  'source.failed': sourceFailure,
  'source.refused': sourceFailure,
  'certificate.installed': ({ source, certificate: { identity, validUntil } }) =>
    lineOf('certificateInstalled', { identity, date: validUntil.toISOString() }, { source }),
  'certificate.aged': ({ source, certificate, state }) => ({
    ...certificateTrouble(certificate, state),
    facts: { source },
  }),
  'service.failed': ({ service, error }) =>
    lineOf('serviceFailed', { reason: error.message }, { service, ...stackOf(error, service === 'process') }),
  'observer.threw': ({ observer, error }) =>
    lineOf('observerFailed', { reason: error.message }, { observer, err: error }),
  'drain.started': ({ connections }) => lineOf('drainStarted', {}, { connections }),
  'drain.ended': ({ finished, cut }) => lineOf('drainFinished', {}, { finished, cut }),
};

/** Summarises changes: a few names, and the number of the others. Omits kinds without changes. */
function changeFacts({ appeared, vanished, health }: RouteChanges): LogLine['facts'] {
  const asText = ({ route, was, is }: HealthChange): string =>
    `${route} ${was.healthy}/${was.total} to ${is.healthy}/${is.total}`;
  return {
    ...(appeared.count > 0 && { appeared: someOf(appeared) }),
    ...(vanished.count > 0 && { vanished: someOf(vanished) }),
    ...(health.count > 0 && { health: someOf({ count: health.count, first: health.first.map(asText) }) }),
  };
}

function someOf({ count, first }: BoundedList<string>): string {
  const more = count - Math.min(count, MAX_NAMES);
  return [...first.slice(0, MAX_NAMES), ...(more > 0 ? [`and ${more} more`] : [])].join(', ');
}

/** Keeps the line short; `GET /events` has more. */
const MAX_NAMES = 5;

/** Adds the name of a backend, if it differs from the address. */
function checkFacts({ backend, address }: Pick<LoggedEvent<'backend.up'>, 'backend' | 'address'>): LogLine['facts'] {
  const [named, dialled] = [formatEndpoint(backend), formatEndpoint(address)];
  return { backend: dialled, ...(named !== dialled && { name: named }) };
}

/** Adds the stack of a bug; other errors, such as a refused connection, need none. */
function stackOf(error: Error, isUncaught: boolean): { readonly err?: Error } {
  const { cause } = error;
  const isBug = [error, cause].some((one) => BUGS.some((kind) => one instanceof kind));
  return isUncaught || isBug ? { err: error } : {};
}

const BUGS = [TypeError, RangeError, ReferenceError, SyntaxError, EvalError, URIError];
