import { pause } from '@meshgate/core';
import { inOrder } from '@meshgate/core/parts';
import type { Service } from '@meshgate/core';
import type { RouteStore } from '@meshgate/core/parts';
import type { Predecessor } from './predecessor.ts';

/** What is started. */
export interface StartedParts {
  readonly admin: Service;
  /** Checks and services of plugins: registrations, for example. */
  readonly services: readonly Service[];
  readonly routes: RouteStore;
  readonly listeners: Service;
}

/**
 * Probes are answered throughout, and routes are known before a port opens. A successor is invisible until it can
 * serve: its predecessor answers probes, and continues if it fails.
 */
export function startOrder(parts: StartedParts, predecessor: Predecessor | undefined): Service {
  const { admin, services, routes, listeners } = parts;
  if (predecessor === undefined) return inOrder('gateway', [admin, ...services, routes, listeners]);
  return inOrder('gateway', [routes, allRoutesKnown(routes), ...services, listeners, admin]);
}

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
