import { pause } from '@meshgate/core';
import { inOrder } from '@meshgate/core/parts';
import type { Service } from '@meshgate/core';
import type { HealthChecks, RouteStore } from '@meshgate/core/parts';
import type { Predecessor } from './predecessor.ts';

/** The parts to start. */
export interface StartedParts {
  readonly admin: Service;
  /** Health checks, and services of plugins such as registrations. */
  readonly services: readonly Service[];
  readonly routes: RouteStore;
  readonly listeners: Service;
  /** One of the services; absent without health checks. */
  readonly checks: Pick<HealthChecks, 'isSettled'> | undefined;
}

/**
 * Orders the start. Probes are answered throughout, and routes are known before a port opens. A successor is invisible
 * until it can serve: its predecessor answers probes, and continues if the successor fails.
 */
export function startOrder(parts: StartedParts, predecessor: Predecessor | undefined): Service {
  const { admin, services, routes, listeners, checks } = parts;
  if (predecessor === undefined) return inOrder('gateway', [admin, ...services, routes, listeners]);
  return inOrder('gateway', [routes, allRoutesKnown(routes), ...services, backendsChecked(checks), listeners, admin]);
}

/**
 * Starts when every backend has been checked once: the predecessor knows which backends are down, and the successor
 * must not send clients to them.
 */
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

/**
 * Checks time out after 2 s by default. With very many backends a round takes longer; the start does not wait for it.
 */
const CHECKS_PATIENCE_MS = 5_000;

/** Starts when every source has a snapshot, however long that takes: the predecessor has its own timeout. */
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
