import type { Observer, ProxyEvent } from '@meshgate/core';
import type { Registry } from 'prom-client';
import { BackendMetrics } from './backend-metrics.ts';
import { ConnectionMetrics } from './connection-metrics.ts';
import type { CarriedConnection } from './connection-metrics.ts';
import { DaemonMetrics } from './daemon-metrics.ts';
import { LabeledRegistry } from './labeled-registry.ts';
import type { ConstantLabels } from './labeled-registry.ts';
import { ListenerMetrics } from './listener-metrics.ts';
import { SourceMetrics } from './source-metrics.ts';

/** Options of {@link prometheusObserver}. */
export interface PrometheusObserverOptions {
  /** Registry for the metrics. prom-client's global registry is never used. */
  readonly registry: Registry;
  /**
   * Labels on every series, which distinguish several proxies in one registry: `{ proxy: 'edge' }` for one, `{ proxy:
   * 'mesh' }` for another. None when absent: the registry is then for this proxy alone.
   */
  readonly labels?: ConstantLabels;
  /**
   * Returns all live connections, called at each scrape: `() => sessions`, with the `Sessions` of core. Their bytes are
   * then counted during their life; when absent, at their close.
   */
  live?(): Iterable<CarriedConnection>;
}

/** An observer that counts the events of one proxy. */
export interface PrometheusObserver extends Observer {
  /** Removes its metrics from the registry after the proxy has stopped: another one may then use the same labels. */
  close(): void;
}

/**
 * Creates an observer that counts the events of a proxy, as described in docs/metrics.md. It keeps a few dozen bytes
 * per live connection, and nothing of the events themselves.
 *
 * It must receive every event from the first one on, since it counts a connection as active from `connection.accepted`
 * to `connection.closed`.
 *
 * @throws Error if the registry already has metrics with these names, and `labels` do not distinguish this proxy from
 * the others in it
 */
export function prometheusObserver({ registry: target, labels, live }: PrometheusObserverOptions): PrometheusObserver {
  const registry = new LabeledRegistry(target, labels);
  const counts: Counts = {
    connections: new ConnectionMetrics(registry, live),
    backends: new BackendMetrics(registry),
    listeners: new ListenerMetrics(registry),
    sources: new SourceMetrics(registry),
    daemon: new DaemonMetrics(registry),
  };
  return { name: 'prometheus', observe: (event) => count(event, counts), close: () => registry.close() };
}

interface Counts {
  readonly connections: ConnectionMetrics;
  readonly backends: BackendMetrics;
  readonly listeners: ListenerMetrics;
  readonly sources: SourceMetrics;
  readonly daemon: DaemonMetrics;
}

function count(event: ProxyEvent, counts: Counts): void {
  const { connections } = counts;
  switch (event.type) {
    case 'connection.accepted':
      return connections.accepted(event.connection);
    case 'connection.sniffed':
      return connections.sniffed(event.connection, event.at, event.hello.trace);
    case 'connection.routed':
      return connections.routed(event.connection, event.route.name);
    case 'connection.connected':
      return connections.connected(event.connection, event.at);
    case 'connection.retried':
      return connections.retried(event.connection);
    case 'connection.closed':
      return connections.closed(event.closed);
    case 'connection.refused':
      return connections.refused(event.listener, event.error.code);
    case 'dial.failed':
      return connections.dialFailed(event.connection, event.error.code);
    default:
      return countRest(event, counts);
  }
}

/** Counts events that are rarer than those of connections: of backends, then the others. */
function countRest(
  event: Exclude<ProxyEvent, { readonly type: `connection.${string}` | 'dial.failed' }>,
  counts: Counts,
): void {
  const { backends } = counts;
  switch (event.type) {
    case 'backend.ejected':
      return backends.ejected(event.address);
    case 'backend.returned':
      return backends.returned(event.address);
    case 'backend.checked':
      return backends.checked(event.passed);
    case 'backend.down':
    case 'backend.up':
    case 'backend.unchecked':
      return backends.isDown(event.address, event.check, event.type === 'backend.down');
    case 'backend.departed':
      // Its connections are counted when they close.
      return;
    case 'route.failover':
      return backends.failedOver();
    case 'balance.failed':
      return backends.balanceFailed();
    case 'path.impaired':
      return backends.pathImpaired(event.problem, event.side);
    case 'resolution.failed':
      return backends.resolutionFailed(event.lastGood);
    default:
      return countOthers(event, counts);
  }
}

type BackendEvent = {
  readonly type: `backend.${string}` | 'route.failover' | 'balance.failed' | 'path.impaired' | 'resolution.failed';
};

function countOthers(
  event: Exclude<ProxyEvent, { readonly type: `connection.${string}` | 'dial.failed' } | BackendEvent>,
  { connections, listeners, sources, daemon }: Counts,
): void {
  switch (event.type) {
    case 'listener.opened':
      return listeners.opened(event.listener);
    case 'listener.failed':
      return listeners.failed(event.listener);
    case 'listener.paused':
      return listeners.paused(event.listener, true);
    case 'listener.resumed':
      return listeners.paused(event.listener, false);
    case 'listener.closed':
      return listeners.closed(event.listener);
    case 'routes.replaced':
      sources.replaced(event.source, event.snapshot, event.tookMs);
      return connections.removed(event.removed);
    case 'source.removed':
      sources.removed(event.source);
      return connections.removed(event.removed);
    case 'source.updated':
      return sources.updated(event.source, event.asOf);
    case 'source.failed':
    case 'source.refused':
      return sources.failed(event.source);
    case 'certificate.installed':
      return sources.certified(event.source, event.certificate, event.authorities);
    case 'certificate.aged':
      // The expiry metric shows it in advance.
      return;
    case 'drain.started':
      return daemon.drainStarted();
    case 'drain.ended':
      // The process is about to exit. Connections that were cut have been counted as closed with CLOSED_BY_DRAIN.
      return;
    case 'observer.threw':
      return daemon.observerThrew(event.observer);
    case 'service.failed':
      return daemon.serviceFailed(event.service);
    default:
      // The compiler checks that no event is missing; an event of a newer core is ignored.
      event satisfies never;
  }
}
