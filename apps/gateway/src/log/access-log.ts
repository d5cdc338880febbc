import { formatEndpoint } from '@meshgate/core';
import { CALLER } from '@meshgate/connect';
import type { Accepted, ClosedConnection, Observer, ProxyEvent } from '@meshgate/core';
import { addressList } from '@meshgate/filters';
import type { AccessLogSettings } from '../config/config-schema.ts';
import type { Log } from './logger.ts';
import { isRefusal, RefusalThrottle } from './refusal-throttle.ts';
import { shownTrace } from './shown-trace.ts';
import { sidecarFacts } from '../sidecar/access-facts.ts';
import type { SidecarFacts } from '../sidecar/access-facts.ts';

/** A line of the access log, without its `time`. Omits the facts of stages that the connection did not reach. */
export interface AccessEntry extends SidecarFacts {
  /** Connection id, unique within the process. */
  readonly id: string;
  readonly listener: string;
  /** Address of the client, as `host:port`. */
  readonly remote: string;
  /** Address of the TCP peer, as `host:port`, when it is a proxy in front of the client. */
  readonly peer?: string;
  readonly serverName?: string;
  readonly alpn?: readonly string[];
  /** Trace of the connection, the same at every proxy on the path: 13 hexadecimal digits. */
  readonly trace?: string;
  readonly route?: string;
  /** Address of the last dial, as `host:port`, successful or not. */
  readonly backend?: string;
  /** Facts from filters, by name. */
  readonly facts?: Readonly<Record<string, string>>;
  /** Number of dials. */
  readonly attempts: number;
  /** Number of retries after a backend closed before its first byte. */
  readonly retries?: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Milliseconds from the accept to a complete ClientHello. */
  readonly helloMs?: number;
  /** Milliseconds from the ClientHello to an established backend connection. */
  readonly connectMs?: number;
  /** Milliseconds from there to the backend's first byte. */
  readonly firstByteMs?: number;
  /** Milliseconds from the accept to the close. */
  readonly durationMs: number;
  /** Error code; absent when both sides finished normally. */
  readonly code?: string;
  /** Reason of the error in words: the expected and the found. Not to be parsed. */
  readonly reason?: string;
  /** Number of lines suppressed since the last one, for rejections of this client, or of all clients in a flood. */
  readonly repeats?: number;
}

/** A line of a connection that has reached its backend, with the facts known by then. */
type ConnectedEntry = Pick<
  AccessEntry,
  'id' | 'listener' | 'remote' | 'serverName' | 'alpn' | 'trace' | 'route' | 'backend' | 'helloMs' | 'connectMs'
> & { readonly event: 'connected' };

/** Options of an {@link accessLog}. */
export interface AccessLogOptions extends AccessLogSettings {
  /** Clients whose rejected connections are logged at level `debug`. */
  readonly quiet: readonly string[];
}

/**
 * Logs each closed connection and, with `connected`, each connection that reaches its backend. A client that closes
 * without sending a byte, as health checks do, is logged at level `debug`. Repeated rejections of a client are logged
 * once a minute.
 */
export function accessLog(
  log: Pick<Log, 'logger' | 'writeJson'>,
  { connected, repeated, quiet }: AccessLogOptions = { connected: false, repeated: false, quiet: [] },
): Observer {
  /** ClientHellos of connections that have not reached a backend yet. */
  const hellos = new WeakMap<Accepted, AccessLogEvent<'connection.sniffed'>>();
  const quietClients = addressList(quiet);
  const refusals = new RefusalThrottle();
  return {
    name: 'access-log',
    observe(event) {
      if (event.type === 'connection.closed') writeClosed(event.closed);
      else if (!connected) return;
      else if (event.type === 'connection.sniffed') hellos.set(event.connection, event);
      else if (event.type === 'connection.connected')
        write('info', () => connectedEntry(event, hellos.get(event.connection)));
    },
  };

  function writeClosed(closed: ClosedConnection): void {
    const isRefused = isRefusal(closed);
    if (closedSilently(closed) || (isRefused && quietClients.has(closed.connection.remote.host)))
      return write('debug', () => accessEntry(closed));
    const repeats = isRefused && !repeated ? refusals.repeatsOf(closed) : 0;
    if (repeats !== undefined) write('info', () => accessEntry(closed, repeats));
  }

  function write(level: 'debug' | 'info', entryOf: () => AccessEntry | ConnectedEntry): void {
    // Read at each line, since a reload may change the format.
    const { logger, writeJson } = log;
    if (!logger.isLevelEnabled(level)) return;
    const entry = entryOf();
    if (writeJson === undefined) logger[level]('event' in entry ? connectedSentence(entry) : sentence(entry));
    else writeJson({ time: new Date().toISOString(), ...entry });
  }
}

type AccessLogEvent<Type extends ProxyEvent['type']> = Extract<ProxyEvent, { type: Type }>;

function connectedEntry(
  { connection, upstream, at }: AccessLogEvent<'connection.connected'>,
  sniffed: AccessLogEvent<'connection.sniffed'> | undefined,
): ConnectedEntry {
  const { hello, at: helloAt } = sniffed ?? {};
  return {
    event: 'connected',
    id: connection.id,
    listener: connection.listener,
    remote: formatEndpoint(connection.remote),
    ...(hello?.serverName !== undefined && { serverName: hello.serverName }),
    ...(hello?.alpn !== undefined && { alpn: hello.alpn }),
    ...shownTrace({ hello, upstream }),
    route: upstream.route.name,
    backend: formatEndpoint(upstream.address),
    ...between('helloMs', connection.at, helloAt),
    ...between('connectMs', helloAt, at),
  };
}

/** Returns the access log fields of a connection. */
export function accessEntry(closed: ClosedConnection, repeats = 0): AccessEntry {
  const { connection, hello, route, dialled, transfer } = closed;
  const { helloAt, connectedAt, closedAt, attempts, retries = 0, error } = closed;
  return {
    id: connection.id,
    listener: connection.listener,
    remote: formatEndpoint(connection.remote),
    ...(connection.peer !== undefined && { peer: formatEndpoint(connection.peer) }),
    ...(hello?.serverName !== undefined && { serverName: hello.serverName }),
    ...(hello?.alpn !== undefined && { alpn: hello.alpn }),
    ...shownTrace(closed),
    ...(route !== undefined && { route: route.name }),
    ...(dialled !== undefined && { backend: formatEndpoint(dialled) }),
    ...sidecarFacts(closed),
    ...shownFacts(connection),
    attempts,
    ...(retries > 0 && { retries }),
    bytesUp: transfer.bytesUp,
    bytesDown: transfer.bytesDown,
    ...between('helloMs', connection.at, helloAt),
    ...between('connectMs', helloAt, connectedAt),
    ...between('firstByteMs', connectedAt, transfer.firstByteAt),
    durationMs: toMicroseconds(closedAt - connection.at),
    ...(error !== undefined && { code: error.code, reason: error.message }),
    ...(repeats > 0 && { repeats }),
  };
}

/** Returns the facts of filters that are logged; a sidecar's caller has its own field. */
function shownFacts({ facts }: Accepted): Pick<AccessEntry, 'facts'> {
  if (facts === undefined) return {};
  const shown = Array.from(facts).flatMap(([name, fact]) =>
    fact.shown === undefined || name === CALLER.name ? [] : [[name, fact.shown] as const],
  );
  return shown.length === 0 ? {} : { facts: Object.fromEntries(shown) };
}

/** Rounds to microseconds. */
function toMicroseconds(ms: number): number {
  return Math.round(ms * 1_000) / 1_000;
}

function between<Key extends string>(key: Key, from?: number, to?: number): { readonly [key in Key]?: number } {
  return from === undefined || to === undefined
    ? {}
    : ({ [key]: toMicroseconds(to - from) } as { [key in Key]: number });
}

/** Whether a client connected and closed, as the health check of a load balancer does. */
function closedSilently({ hello, error }: ClosedConnection): boolean {
  return hello === undefined && error === undefined;
}

function connectedSentence({ remote, serverName = 'no name', route, backend }: ConnectedEntry): string {
  return `connected: ${[remote, serverName, route, backend].join(' > ')}`;
}

function sentence(entry: AccessEntry): string {
  const { remote, serverName = 'no name', route, backend, bytesUp, bytesDown, durationMs, code, reason } = entry;
  const { repeats } = entry;
  const path = [remote, serverName, route, backend].filter((step) => step !== undefined).join(' > ');
  const others = repeats === undefined ? '' : ` (${repeats} more suppressed)`;
  const end = code === undefined ? '' : ` ${code}: ${reason}${others}`;
  return `${path} ${bytesUp} B up ${bytesDown} B down ${durationMs} ms${end}`;
}
