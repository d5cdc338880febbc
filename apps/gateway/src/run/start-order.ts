import { pause } from '@meshgate/core';
import { inOrder } from '@meshgate/core/parts';
import type { Service } from '@meshgate/core';
import type { HealthChecks, RouteStore } from '@meshgate/core/parts';
import type { Predecessor } from './predecessor.ts';

/** What is started. */
export interface StartedParts {
  readonly admin: Service;
  /** Checks and services of plugins: registrations, for example. */
  readonly services: readonly Service[];
  readonly routes: RouteStore;
  readonly listeners: Service;
  /** Among the services; absent where nothing is checked. */
  readonly checks: Pick<HealthChecks, 'isSettled'> | undefined;
}

/**
 * Probes are answered throughout, and routes are known before a port opens. A successor is invisible until it can
 * serve: its predecessor answers probes, and continues if it fails.
 */
export function startOrder(parts: StartedParts, predecessor: Predecessor | undefined): Service {
  const { admin, services, routes, listeners, checks } = parts;
  if (predecessor === undefined) return inOrder('gateway', [admin, ...services, routes, listeners]);
  return inOrder('gateway', [routes, allRoutesKnown(routes), ...services, backendsChecked(checks), listeners, admin]);
}

/** Started when every backend has been checked once: its predecessor knows which are down, and would lead no client there. */
function backendsChecked(checks: StartedParts['checks']): Service {
  return {
    name: 'backends checked',
    stop: () => Promise.resolve(),
    start: async (signal) => {
      const endsAt = performance.now() + CHECKS_PATIENCE_MS;
      const areSettled = (): boolean => checks?.isSettled !== false;
      while (!areSettled() && performance.now() < endsAt) {
        await pause(LOOK_EVERY_MS, signal);
        signal.throwIfAborted();
      }
    },
  };
}

/** Checks that time out take 2 s by default; with very many backends a round takes longer, and is not waited for. */
const CHECKS_PATIENCE_MS = 5_000;

/** Started when every source has a snapshot, however long that takes: the predecessor has its own timeout. */
function allRoutesKnown(routes: Pick<RouteStore, 'sources'>): Service {
  return {
    name: 'routes known',
    stop: () => Promise.resolve(),
    start: async (signal) => {
      while (!routes.sources.every(({ lastSuccess }) => lastSuccess !== undefined)) {
        await pause(LOOK_EVERY_MS, signal);
        signal.throwIfAborted();
      }
    },
  };
}

const LOOK_EVERY_MS = 50;
