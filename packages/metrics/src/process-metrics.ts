import { collectDefaultMetrics } from 'prom-client';
import type { Registry } from 'prom-client';
import { CellFamily } from './family.ts';
import { LabeledRegistry } from './labeled-registry.ts';
import { METRICS } from './metrics.ts';

/** Build information. */
export interface Build {
  /** The version, for example `1.4.0`. */
  readonly version: string;
}

/**
 * Adds metrics of this process to `registry`: CPU, memory, file descriptors, event loop lag and garbage collection, as
 * collected by prom-client, and `meshgate_build_info`. They are collected until the process ends: call this once, in an
 * application.
 *
 * @throws Error if the registry already has them
 */
export function processMetrics(registry: Registry, { version }: Build): void {
  collectDefaultMetrics({ register: registry });
  for (const name of COUNTED_ONE_BY_ONE) registry.removeSingleMetric(name);
  new CellFamily(METRICS.build, new LabeledRegistry(registry)).cell({ version, node: process.version }).value = 1;
}

// These iterate over every handle or request of the process at each scrape, which would block the event loop with two
// sockets per connection. meshgate_connections_active has the same information at no cost.
const COUNTED_ONE_BY_ONE = ['handles', 'requests', 'resources'].flatMap((what) => [
  `nodejs_active_${what}`,
  `nodejs_active_${what}_total`,
]);
