import { availableParallelism } from 'node:os';
import type { Limits } from '@meshgate/core';
import type { GatewayConfig, LimitSettings } from '../config/config-schema.ts';
import { limitsFor } from '../run/machine.ts';
import type { Machine } from '../run/machine.ts';

/** Limits of all processes together, and of each. With one process both are the same. */
export interface Shares {
  /** Processes that carry connections. */
  readonly count: number;
  readonly each: Limits;
  readonly total: Limits;
}

/**
 * Divides what `config` allows. A worker has file descriptors of its own and its part of the memory.
 *
 * @param parallelism what `auto` means
 */
export function sharesOf(
  { workers, limits }: Pick<GatewayConfig, 'workers' | 'limits'>,
  machine: Machine,
  parallelism: number = availableParallelism(),
): Shares {
  const count = workerCount(workers, parallelism);
  const own = { ...machine, memoryBytes: machine.memoryBytes / count };
  const each = limitsFor(divided(limits, count), own);
  const { connections, pendingHellos } = each;
  return { count, each, total: { ...each, connections: connections * count, pendingHellos: pendingHellos * count } };
}

/** How many processes carry connections. */
export function workerCount(workers: GatewayConfig['workers'], parallelism: number = availableParallelism()): number {
  return workers === 'auto' ? parallelism : workers;
}

function divided({ connections, pendingHellos, ...others }: LimitSettings, count: number): LimitSettings {
  return { ...others, connections: part(connections, count), pendingHellos: part(pendingHellos, count) };
}

/** Rounded down, so that the sum stays within the limit; at least 1. */
function part(limit: number | 'auto', count: number): number | 'auto' {
  return limit === 'auto' ? limit : Math.max(1, Math.floor(limit / count));
}
