import type { PipeUsage } from '@meshgate/core';
import type { Registry } from 'prom-client';
import type { MetricDefinition } from './metrics.ts';
import { LabeledRegistry } from './labeled-registry.ts';
import type { ConstantLabels } from './labeled-registry.ts';
import { METRICS } from './metrics.ts';
import { sampledFamily } from './sampled-family.ts';

/** Number of backends of a route, or of gateways of a remote datacenter or peer. */
export interface BackendCount {
  /** Name of the route or remote: a label. */
  readonly name: string;
  /** Their number. */
  readonly total: number;
  /** The number of healthy ones. */
  readonly healthy: number;
}

/** State of a whole gateway, read at each scrape. One process exports these metrics, whatever the number of workers. */
export interface GatewayVitals {
  /** Whether `GET /ready` returns 200. */
  ready(): boolean;
  /** All routes in use. */
  routes(): Iterable<BackendCount>;
  /** All remote datacenters and peers that routes lead to. */
  remotes(): Iterable<BackendCount>;
  /** Limits over all processes. */
  limits(): {
    /** Concurrent connections. */
    readonly connections: number;
    /** Connections without a complete ClientHello. */
    readonly pendingHellos: number;
    /** In bytes; `Infinity` if unknown. */
    readonly memoryBytes: number;
  };
}

/** Resource usage of a process that carries connections, read at each scrape. The values of workers are summed. */
export interface CarrierVitals {
  /** Connections without a complete ClientHello; `undefined` if they are not counted. */
  pendingHellos(): number | undefined;
  /** Pipes of its transport; `undefined` if it uses none. */
  pipes(): PipeUsage | undefined;
}

/**
 * Registers metrics for early signs of trouble: readiness, backends, remote gateways, limits.
 *
 * @param labels the same as those of the observer
 * @throws Error if the registry already has metrics with these names, and the labels do not distinguish these
 */
export function gatewayVitals(target: Registry, vitals: GatewayVitals, labels?: ConstantLabels): void {
  const registry = new LabeledRegistry(target, labels);
  single(registry, METRICS.ready, () => (vitals.ready() ? 1 : 0));
  counted(registry, 'route', [METRICS.routeBackends, METRICS.routeBackendsHealthy], () => vitals.routes());
  counted(registry, 'remote', [METRICS.remoteGateways, METRICS.remoteGatewaysHealthy], () => vitals.remotes());
  single(registry, METRICS.connectionsLimit, () => vitals.limits().connections);
  single(registry, METRICS.pendingHellosLimit, () => vitals.limits().pendingHellos);
  single(registry, METRICS.memoryLimit, () => vitals.limits().memoryBytes);
}

/**
 * Registers the usage of a process's limits.
 *
 * @param labels the same as those of the observer
 * @throws Error if the registry already has metrics with these names, and the labels do not distinguish these
 */
export function carrierVitals(target: Registry, vitals: CarrierVitals, labels?: ConstantLabels): void {
  const registry = new LabeledRegistry(target, labels);
  single(registry, METRICS.pendingHellos, () => vitals.pendingHellos());
  single(registry, METRICS.pipes, () => vitals.pipes()?.used);
  single(registry, METRICS.pipesLimit, () => vitals.pipes()?.limit);
}

type GaugeOf<L extends 'route' | 'remote'> = MetricDefinition & {
  readonly type: 'gauge';
  readonly labels: readonly L[];
};

function single(
  registry: LabeledRegistry,
  definition: MetricDefinition & { readonly type: 'gauge'; readonly labels: readonly [] },
  value: () => number | undefined,
): void {
  sampledFamily<never>(definition, registry, () => {
    const now = value();
    return now === undefined ? [] : [{ labels: {}, value: now }];
  });
}

function counted<L extends 'route' | 'remote'>(
  registry: LabeledRegistry,
  label: L,
  [total, healthy]: readonly [GaugeOf<L>, GaugeOf<L>],
  counts: () => Iterable<BackendCount>,
): void {
  const samples = (valueOf: (count: BackendCount) => number) => () =>
    Array.from(counts(), (count) => ({ labels: labelled(label, count.name), value: valueOf(count) }));
  sampledFamily(
    total,
    registry,
    samples((count) => count.total),
  );
  sampledFamily(
    healthy,
    registry,
    samples((count) => count.healthy),
  );
}

function labelled<L extends string>(label: L, value: string): Readonly<Record<L, string>> {
  // TypeScript types a computed key as any string.
  return { [label]: value } as Readonly<Record<L, string>>;
}
