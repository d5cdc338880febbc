import type { Observer, ProxyEvent } from '@meshgate/core';
import type { Registry } from 'prom-client';
import { BackendMetrics } from './backend-metrics.ts';
import { ConnectionMetrics } from './connection-metrics.ts';
import { Family } from './family.ts';
import { ListenerMetrics } from './listener-metrics.ts';
import { Memo } from './memo.ts';
import { METRICS } from './metrics.ts';
import { SourceMetrics } from './source-metrics.ts';

/** What {@link prometheusObserver} needs. */
export interface PrometheusObserverOptions {
  /** The metrics are registered here, once: a second observer needs a registry of its own. Never prom-client's global one. */
  readonly registry: Registry;
  /** The wall clock in milliseconds since 1970, for timestamps. `Date.now` when absent. */
  readonly now?: () => number;
}

/**
 * Counts what the proxy tells, as docs/metrics.md describes. It keeps a few dozen bytes for each live connection and nothing of
 * the events themselves.
 *
 * Obligation: it hears every event from the first on, since it counts a connection as active from `connection.accepted` to
 * `connection.closed`.
 *
 * @throws Error when the registry has metrics of these names already
 */
export function prometheusObserver({ registry, now = Date.now }: PrometheusObserverOptions): Observer {
  const connections = new ConnectionMetrics(registry);
  const backends = new BackendMetrics(registry);
  const listeners = new ListenerMetrics(registry);
  const sources = new SourceMetrics(registry, now);
  const draining = new Family(METRICS.draining, registry).cell({});
  const serviceFamily = new Family(METRICS.serviceFailures, registry);
  const serviceFailures = new Memo((service: string) => serviceFamily.cell({ service }));
  const observerFamily = new Family(METRICS.observerFailures, registry);
  const observerFailures = new Memo((observer: string) => observerFamily.cell({ observer }));
  return { name: 'prometheus', observe };

  function observe(event: ProxyEvent): void {
    switch (event.type) {
      case 'connection.accepted':
        return connections.accepted(event.connection);
      case 'connection.sniffed':
        return connections.sniffed(event.connection, event.at);
      case 'connection.routed':
        return connections.routed(event.connection, event.route.name);
      case 'connection.connected':
        return connections.connected(event.connection, event.at);
      case 'connection.closed':
        return connections.closed(event.closed);
      case 'connection.refused':
        return connections.refused(event.listener, event.error.code);
      case 'dial.failed':
        return connections.dialFailed(event.connection, event.error.code);
      case 'backend.ejected':
        return backends.ejected(event.address);
      case 'backend.returned':
        return backends.returned(event.address);
      case 'resolution.failed':
        return backends.resolutionFailed(event.lastGood);
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
      case 'source.failed':
        return sources.failed(event.source);
      case 'drain.started':
        draining.value = 1;
        return;
      case 'drain.ended':
        // The process ends now. What was cut has been counted as closed with CLOSED_BY_DRAIN.
        return;
      case 'observer.threw':
        observerFailures.get(event.observer).value += 1;
        return;
      case 'service.failed':
        serviceFailures.get(event.service).value += 1;
        return;
      default:
        // The compiler proves that nothing is missing; an event of a newer core is simply not counted.
        event satisfies never;
    }
  }
}
