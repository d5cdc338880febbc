import { formatEndpoint } from '@meshgate/core';
import type { Observer, ProxyEvent } from '@meshgate/core';
import { certificateTrouble } from './certificate-trouble.ts';
import type { Logger } from './logger.ts';
import { LogThrottle } from './log-throttle.ts';

/** A line of the log before it is written. */
interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  /** For people. */
  readonly message: string;
  /** For programs. An `err` is written with its stack. */
  readonly facts: Readonly<Record<string, unknown>>;
}

/** Writes what happens to the gateway. What happens to connections is the access log's, except for bugs and refusals. */
export function logObserver(logger: Logger): Observer {
  const warnings = new Map<string, readonly string[]>();
  const failing = new Set<string>();
  const known = new Set<string>();
  const refusals = new Refusals();
  return { name: 'log', observe };

  function observe(event: ProxyEvent): void {
    if (event.type === 'connection.refused') write(refusals.count(event));
    else if (event.type === 'source.failed' || event.type === 'source.refused') writeFailure(event);
    else write(lineOf(event));
    if (event.type === 'source.updated') writeRecovery(event.source);
    if (event.type === 'routes.replaced') writeWarnings(event.source, event.snapshot.warnings ?? []);
  }

  function writeFailure(event: EventOf<'source.failed' | 'source.refused'>): void {
    const { source, error } = event;
    failing.add(source);
    const rest = known.has(source) ? 'what it said last stays in use' : 'and has said nothing yet';
    const facts = { source, ...('retryInMs' in event && { retryInMs: Math.round(event.retryInMs) }) };
    write({ level: 'warn', message: `source failed, ${rest}: ${error.message}`, facts });
  }

  function writeRecovery(source: string): void {
    known.add(source);
    if (failing.delete(source)) write({ level: 'info', message: 'the source answers again', facts: { source } });
  }

  /** Each warning when it first appears: sources repeat them with every snapshot. */
  function writeWarnings(source: string, now: readonly string[]): void {
    const before = warnings.get(source) ?? [];
    warnings.set(source, now);
    for (const message of now) if (!before.includes(message)) write({ level: 'warn', message, facts: { source } });
    if (before.length > 0 && now.length === 0)
      write({ level: 'info', message: 'the source has nothing to warn of any more', facts: { source } });
  }

  function write(line: LogLine | undefined): void {
    if (line !== undefined) logger[line.level](line.facts, line.message);
  }
}

/** What the log says of `event`; `undefined` when nothing. Pure. */
function lineOf(event: ProxyEvent): LogLine | undefined {
  // The table is total by its type; that an event meets the writer of its own type is beyond the compiler.
  const writer = LINES[event.type] as Writer<ProxyEvent> | undefined;
  return writer?.(event);
}

type EventOf<Type extends ProxyEvent['type']> = Extract<ProxyEvent, { type: Type }>;

type Writer<Event> = (event: Event) => LogLine | undefined;

const LINES: { readonly [Type in ProxyEvent['type']]: Writer<EventOf<Type>> | undefined } = {
  'connection.accepted': undefined,
  'connection.sniffed': undefined,
  'connection.routed': undefined,
  'connection.connected': undefined,
  'connection.closed': ({ closed: { connection, error } }) => {
    if (error === undefined) return undefined;
    const facts = { id: connection.id, code: error.code };
    if (error.code !== 'INTERNAL') return { level: 'debug', message: error.message, facts };
    return { level: 'error', message: 'a bug ended a connection: please report it', facts: { ...facts, err: error } };
  },
  'connection.refused': ({ listener, remote, error }) => ({
    level: 'warn',
    message: `connection refused: ${error.message}`,
    facts: { listener, remote: formatEndpoint(remote), code: error.code },
  }),
  'dial.failed': ({ connection, route, address, error }) => ({
    level: 'debug',
    message: `dial failed: ${error.message}`,
    facts: { id: connection.id, route: route.name, backend: formatEndpoint(address), code: error.code },
  }),
  'backend.ejected': ({ address, failures, forMs }) => ({
    level: 'warn',
    message: 'backend put aside: too many failures in a row',
    facts: { backend: formatEndpoint(address), failures, forMs },
  }),
  'backend.returned': ({ address }) => ({
    level: 'info',
    message: 'backend in use again',
    facts: { backend: formatEndpoint(address) },
  }),
  'resolution.failed': ({ host, error, lastGood }) => ({
    level: 'warn',
    message: `backend name not resolved (${error.message}); ${lastGood ? 'its last addresses stay in use' : 'it has no address'}`,
    facts: { host },
  }),
  'listener.opened': ({ listener, address }) => ({
    level: 'info',
    message: `listening on ${formatEndpoint(address)}`,
    facts: { listener },
  }),
  'listener.failed': ({ listener, address, error, retryInMs }) => ({
    level: 'warn',
    message: `cannot listen on ${formatEndpoint(address)}: ${error.message}`,
    facts: { listener, retryInMs: Math.round(retryInMs) },
  }),
  'listener.paused': ({ listener, reason }) => ({
    level: 'warn',
    message: `accepting pauses: ${reason.message}`,
    facts: { listener },
  }),
  'listener.resumed': ({ listener }) => ({ level: 'info', message: 'accepting goes on', facts: { listener } }),
  'listener.closed': ({ listener }) => ({ level: 'info', message: 'listener closed', facts: { listener } }),
  'routes.replaced': ({ source, snapshot, removed, tookMs }) => ({
    level: 'info',
    message: `${snapshot.routes.length} routes in use`,
    facts: { source, version: snapshot.version, removed: removed.length, tookMs: Math.round(tookMs) },
  }),
  'source.updated': undefined,
  // It depends on what came before.
  'source.failed': undefined,
  'source.refused': undefined,
  'certificate.installed': ({ source, certificate: { identity, validUntil } }) => ({
    level: 'info',
    message: `certificate of ${identity} in use, valid until ${validUntil.toISOString()}`,
    facts: { source },
  }),
  'certificate.aged': ({ source, certificate, state }) => ({
    level: state === 'expired' ? 'error' : 'warn',
    message: certificateTrouble(certificate, state),
    facts: { source },
  }),
  'service.failed': ({ service, error }) => ({
    level: 'error',
    message: `service failed: ${error.message}`,
    facts: { service, err: error },
  }),
  'drain.started': ({ connections }) => ({ level: 'info', message: 'drain begins', facts: { connections } }),
  'drain.ended': ({ finished, cut }) => ({ level: 'info', message: 'drain ends', facts: { finished, cut } }),
  'observer.threw': ({ observer, error }) => ({
    level: 'error',
    message: `observer threw: ${error.message}`,
    facts: { observer, err: error },
  }),
};

/** A flood of refusals is what a limit is there for: the log has one line of it now and then, the metrics have all. */
class Refusals {
  readonly #byListener = new Map<string, LogThrottle>();

  /** The line that is due, or nothing. */
  count(event: EventOf<'connection.refused'>): LogLine | undefined {
    const alsoRefused = this.#of(event.listener).happened();
    const line = alsoRefused === undefined ? undefined : lineOf(event);
    return line && { ...line, facts: { ...line.facts, alsoRefused } };
  }

  #of(listener: string): LogThrottle {
    const known = this.#byListener.get(listener) ?? new LogThrottle();
    this.#byListener.set(listener, known);
    return known;
  }
}
