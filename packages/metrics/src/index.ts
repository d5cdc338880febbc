export type { CarriedConnection } from './connection-metrics.ts';
export { exposition, expositionStream } from './exposition.ts';
export type { Exposition, ExpositionStream } from './exposition.ts';
export { LABELS, METRICS } from './metrics.ts';
export type { Label, MetricDefinition } from './metrics.ts';
export { processMetrics } from './process-metrics.ts';
export type { Build } from './process-metrics.ts';
export { prometheusObserver } from './prometheus-observer.ts';
export type { PrometheusObserverOptions } from './prometheus-observer.ts';
