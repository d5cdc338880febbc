import type { Limits } from '@meshgate/core';
import type { GatewayConfig, LimitSettings } from '../config/config-schema.ts';
import { limitsFor, thisMachine } from '../run/machine.ts';
import type { Machine } from '../run/machine.ts';

/** Limits of all processes together, and of each. With one process both are the same. */
export interface Shares {
  /** Number of processes that carry connections. */
  readonly count: number;
  readonly each: Limits;
  readonly total: Limits;
}

/** Divides the limits of `config`. Each worker has its own file descriptors, and its share of the memory. */
export function sharesOf({ workers, limits }: Pick<GatewayConfig, 'workers' | 'limits'>, machine: Machine): Shares {
  const count = workerCount(workers, machine);
  const own = { ...machine, memoryBytes: machine.memoryBytes / count };
  const each = limitsFor(divided(limits, count), own);
  const { connections, pendingHellos } = each;
  return { count, each, total: { ...each, connections: connections * count, pendingHellos: pendingHellos * count } };
}

/**
 * Returns the number of processes that carry connections. For `auto`: one per processor, as far as they fit into half
 * of the memory.
 */
export function workerCount(
  workers: GatewayConfig['workers'],
  { processors, memoryBytes }: Pick<Machine, 'processors' | 'memoryBytes'> = thisMachine(),
): number {
  if (workers !== 'auto') return workers;
  return Math.max(1, Math.min(processors, Math.floor((memoryBytes * MEMORY_SHARE) / BYTES_PER_WORKER)));
}

const MEMORY_SHARE = 0.5;
/** Memory of a worker without connections. */
const BYTES_PER_WORKER = 96 * 1024 * 1024;

function divided({ connections, pendingHellos, perClient, ...others }: LimitSettings, count: number): LimitSettings {
  // The kernel distributes the connections of one client as evenly as all others.
  const ofClient =
    perClient?.connections === undefined ? undefined : Math.max(1, Math.ceil(perClient.connections / count));
  const rate = perClient?.rate && { ...perClient.rate, count: perClient.rate.count / count };
  return {
    ...others,
    ...(perClient !== undefined && {
      perClient: { ...perClient, ...(ofClient !== undefined && { connections: ofClient }), ...(rate && { rate }) },
    }),
    connections: part(connections, count),
    pendingHellos: part(pendingHellos, count),
  };
}

/** Rounds down, so that the sum stays within the limit; returns at least 1. */
function part(limit: number | 'auto', count: number): number | 'auto' {
  return limit === 'auto' ? limit : Math.max(1, Math.floor(limit / count));
}
