import { ProxyError } from '@meshgate/core';
import type {
  Accepted,
  ClosedConnection,
  Connection,
  Endpoint,
  HealthCheck,
  Hello,
  ProxyEvent,
  Route,
  Upstream,
} from '@meshgate/core';
import type { EventOf } from './recorder.ts';

/** One event of each type. */
export type EventSamples = { readonly [Type in ProxyEvent['type']]: EventOf<Type> };

/**
 * Returns one event of each type, all about the connection `id`, with every field set, for tests of observers. The
 * compiler requires every type.
 */
export function eventSamples(id = 'c1'): EventSamples {
  const connection = sampleAccepted(id);
  const upstream = sampleUpstream();
  const at = connection.at + 1;
  const error = new ProxyError('CONNECT_REFUSED', 'dial 10.0.0.1:8443: ECONNREFUSED');
  return {
    'connection.accepted': { type: 'connection.accepted', connection },
    'connection.sniffed': { type: 'connection.sniffed', connection, hello: sampleHello(), at },
    'connection.routed': { type: 'connection.routed', connection, route: ROUTE },
    'connection.connected': { type: 'connection.connected', connection, upstream, at: at + 1 },
    'connection.retried': { type: 'connection.retried', connection, upstream, error },
    'connection.closed': { type: 'connection.closed', closed: sampleClosed(connection, upstream) },
    'dial.failed': { type: 'dial.failed', connection, route: ROUTE, address: BACKEND, error },
    ...listenerSamples(),
    ...routingSamples(),
    ...certificateSamples(),
    ...serviceSamples(),
  };
}

/** Returns an accepted connection. */
export function sampleAccepted(id = 'c1'): Accepted {
  const remote = { host: '192.0.2.7', port: 50123 };
  return { id, listener: 'default', remote, local: { host: '192.0.2.1', port: 443 }, at: 1_000 };
}

/** Returns a TLS 1.3 hello for `serverName`. */
export function sampleHello(serverName = 'api.example.com'): Hello {
  return {
    protocol: 'tls',
    serverName,
    alpn: ['h2', 'http/1.1'],
    supportedVersions: [0x0304, 0x0303],
    ech: false,
    earlyData: false,
  };
}

const BACKEND: Endpoint = { host: '10.0.0.1', port: 8443 };

const CHECK: HealthCheck = { kind: 'tcp', intervalMs: 5_000, timeoutMs: 2_000, rise: 2, fall: 3 };

const ROUTE: Route = {
  name: 'api',
  kind: 'static',
  serverNames: ['api.example.com'],
  backends: [{ address: BACKEND, weight: 1, healthy: true }],
};

const ERROR = new Error('a readable reason');

type Samples<Family extends string> = Pick<EventSamples, Extract<keyof EventSamples, `${Family}.${string}`>>;

function listenerSamples(): Samples<'listener'> & Pick<EventSamples, 'connection.refused'> {
  const { listener, remote, local: address } = sampleAccepted();
  const error = new ProxyError('LIMIT_REACHED', 'expected at most 10000 connections, found one more');
  return {
    'connection.refused': { type: 'connection.refused', listener, remote, error },
    'listener.opened': { type: 'listener.opened', listener, address },
    'listener.failed': { type: 'listener.failed', listener, address, error: ERROR, retryInMs: 250 },
    'listener.paused': { type: 'listener.paused', listener, reason: ERROR },
    'listener.resumed': { type: 'listener.resumed', listener },
    'listener.closed': { type: 'listener.closed', listener },
  };
}

function routingSamples(): Samples<'backend' | 'balance' | 'path' | 'route' | 'resolution' | 'routes' | 'source'> {
  const snapshot = { version: '1', routes: [ROUTE], warnings: ['a file could not be read'] };
  return {
    'backend.ejected': { type: 'backend.ejected', address: BACKEND, forMs: 30_000, failures: 5 },
    'backend.returned': { type: 'backend.returned', address: BACKEND },
    'backend.checked': { type: 'backend.checked', address: BACKEND, check: CHECK, passed: true, tookMs: 1 },
    'backend.down': { type: 'backend.down', backend: BACKEND, address: BACKEND, check: CHECK, reason: 'ECONNREFUSED' },
    'backend.up': { type: 'backend.up', backend: BACKEND, address: BACKEND, check: CHECK, downMs: 5_000 },
    'backend.unchecked': { type: 'backend.unchecked', backend: BACKEND, address: BACKEND, check: CHECK },
    'backend.departed': {
      type: 'backend.departed',
      route: ROUTE,
      backend: BACKEND,
      why: 'removed',
      drain: { graceMs: 30_000, spreadMs: 5_000 },
      connections: 7,
    },
    'route.failover': { type: 'route.failover', route: ROUTE, priority: 1, previous: 0 },
    'balance.failed': { type: 'balance.failed', route: ROUTE, balance: 'by-shard', error: ERROR },
    'path.impaired': {
      type: 'path.impaired',
      problem: 'large-segments',
      side: 'upstream',
      address: BACKEND,
      reason: 'segments of 1448 bytes are not acknowledged',
    },
    'resolution.failed': { type: 'resolution.failed', host: 'db.example', error: ERROR, lastGood: true },
    'routes.replaced': { type: 'routes.replaced', source: 'file', snapshot, removed: ['old'], tookMs: 0.5 },
    'source.removed': { type: 'source.removed', source: 'file', previous: snapshot, removed: ['old'] },
    'source.updated': { type: 'source.updated', source: 'file', changed: true, asOf: new Date(0) },
    'source.refused': { type: 'source.refused', source: 'file', error: ERROR },
    'source.failed': { type: 'source.failed', source: 'file', error: ERROR, retryInMs: 250 },
  };
}

function certificateSamples(): Samples<'certificate'> {
  const identity = 'spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/dc1/svc/api';
  const certificate = { identity, validUntil: new Date(0) };
  return {
    'certificate.installed': { type: 'certificate.installed', source: 'credentials', certificate, authorities: [] },
    'certificate.aged': { type: 'certificate.aged', source: 'credentials', certificate, state: 'overdue' },
  };
}

function serviceSamples(): Samples<'service' | 'drain' | 'observer'> {
  return {
    'service.failed': { type: 'service.failed', service: 'registration', error: ERROR },
    'drain.started': { type: 'drain.started', connections: 2 },
    'drain.ended': { type: 'drain.ended', finished: 1, cut: 1 },
    'observer.threw': { type: 'observer.threw', observer: 'another peer', error: ERROR },
  };
}

function sampleUpstream(): Upstream {
  const [backend] = ROUTE.backends;
  if (backend === undefined) throw new Error('expected the sample route to have a backend, found none');
  const local = { host: '10.0.0.9', port: 40001 };
  return {
    connection: unusable(local),
    route: ROUTE,
    backend,
    address: BACKEND,
    release: () => undefined,
  };
}

/** Returns a connection whose methods fail: an observer must not use it. */
function unusable(local: Endpoint): Connection {
  const refuse = (): Promise<never> => Promise.reject(new Error('expected an observer not to use the connection'));
  return { remote: BACKEND, local, onReset: undefined, read: refuse, write: refuse, destroy: () => undefined };
}

function sampleClosed(connection: Accepted, upstream: Upstream): ClosedConnection {
  return {
    connection,
    hello: sampleHello(),
    helloAt: connection.at + 1,
    route: ROUTE,
    upstream,
    connectedAt: connection.at + 2,
    attempts: 1,
    dialled: BACKEND,
    transfer: { bytesUp: 517, bytesDown: 4_321, firstByteAt: connection.at + 3 },
    closedAt: connection.at + 10,
  };
}
