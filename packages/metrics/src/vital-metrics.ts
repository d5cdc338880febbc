import type { PipeUsage } from '@meshgate/core';
import type { Registry } from 'prom-client';
import type { MetricDefinition } from './metrics.ts';
import { LabeledRegistry } from './labeled-registry.ts';
import type { ConstantLabels } from './labeled-registry.ts';
import { METRICS } from './metrics.ts';
import { sampledFamily } from './sampled-family.ts';

/** Backends of a route, or gateways of a remote datacenter or a peer. */
export interface BackendCount {
  /** Its name: a label. */
  readonly name: string;
  /** How many there are. */
  readonly total: number;
  /** How many of them are healthy. */
  readonly healthy: number;
}

/** How a gateway is as a whole, asked at each scrape. One process has these metrics, whatever the number of workers. */
export interface GatewayVitals {
  /** As `GET /ready` says it. */
  ready(): boolean;
  /** Every route in use. */
  routes(): Iterable<BackendCount>;
  /** Every remote datacenter and peer that the routes lead to. */
  remotes(): Iterable<BackendCount>;
  /** Of all processes together. */
  limits(): {
    /** Connections at a time. */
    readonly connections: number;
    /** Connections whose ClientHello is not complete, at a time. */
    readonly pendingHellos: number;
    /** In bytes; `Infinity` where nobody says. */
    readonly memoryBytes: number;
  };
}

/** What a process that carries connections uses, asked at each scrape. Over several workers it is added up. */
export interface CarrierVitals {
  /** Connections whose ClientHello is not complete yet; absent where nobody counts them. */
  pendingHellos(): number | undefined;
  /** Pipes of its transport; absent where it has none. */
  pipes(): PipeUsage | undefined;
}

/**
 * Registers what tells of trouble before clients do: readiness, backends, remote gateways, limits.
 *
 * @param labels as those of the observer
 * @throws Error when the registry has metrics of these names already, and the labels tell them apart from no others
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
 * Registers how near a process is to limits of its own.
 *
 * @param labels as those of the observer
 * @throws Error when the registry has metrics of these names already, and the labels tell them apart from no others
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
  // A computed key is any string to the compiler.
  return { [label]: value } as Readonly<Record<L, string>>;
}
