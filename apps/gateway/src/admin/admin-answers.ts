import type { Limits } from '@meshgate/core';
import type { Drain, Sessions, Listeners, Outliers, RouteStore } from '@meshgate/core/parts';
import { exposition } from '@meshgate/metrics';
import type { Registry } from 'prom-client';
import type { Parts } from '../config/parts.ts';
import { requestedName, explain, isExact } from '../cli/explain.ts';
import { pluginPaths } from './plugin-paths.ts';
import type { AdminAnswer, AdminPaths } from './admin-paths.ts';
import type { Readiness } from './readiness.ts';
import { connectionView, drainView, listenerView, routesView } from './views.ts';

/** What the admin server shows, and the one thing that it does. */
export interface AdminTargets {
  readonly routes: RouteStore;
  readonly sessions: Pick<Sessions, 'live'>;
  readonly listeners: Pick<Listeners, 'status'>;
  readonly outliers: Pick<Outliers, 'isEjected'>;
  readonly drain: Pick<Drain, 'progress'>;
  readonly registry: Registry;
  readonly limits: Limits;
  readiness(): Readiness;
  /** Paths that plugins add. */
  readonly plugins: Pick<Parts, 'adminPaths'>;
  /** Starts the drain at whose end the process exits. */
  shutDown(): void;
}

/** Every path of the admin API, as docs/operate/admin.md describes them. */
export function adminPaths(targets: AdminTargets): AdminPaths {
  const { routes, sessions, listeners, outliers, drain, registry, limits, plugins, shutDown } = targets;
  const paths: AdminPaths = {
    '/': { GET: () => ok({ paths: Object.keys(paths) }) },
    '/live': { GET: () => ok({ live: true }) },
    '/ready': {
      GET: () => {
        const readiness = targets.readiness();
        return { status: readiness.ready ? 200 : 503, json: readiness };
      },
    },
    '/routes': { GET: () => ok(routesView(routes.table, routes.sources, limits.connectTimeoutMs)) },
    '/explain': {
      GET: ({ query }) => {
        const serverName = query.get('serverName') ?? '';
        if (serverName === '') return { status: 400, json: { error: 'expected ?serverName=NAME, found none' } };
        const requested = requestedName(serverName);
        const listener = query.get('listener');
        const explanation = explain(serverName, routes.table, {
          ...(listener !== null && { listener }),
          isEjected: (address) => outliers.isEjected(address),
        });
        if (requested.kind === 'name' || isExact(explanation)) return ok(explanation);
        return { status: 400, json: { error: requested.why } };
      },
    },
    '/connections': {
      GET: () => {
        const now = performance.now();
        return ok({ connections: sessions.live().map((live) => connectionView(live, now)) });
      },
    },
    '/listeners': { GET: () => ok({ listeners: listeners.status.map(listenerView) }) },
    '/metrics': {
      GET: async ({ accept }) => {
        const { contentType, body } = await exposition(registry, accept);
        return { status: 200, contentType, text: body };
      },
    },
    '/drain': {
      GET: () => ok(drainView(drain.progress)),
      POST: () => {
        shutDown();
        return { status: 202, json: drainView(drain.progress) };
      },
    },
    ...pluginPaths(plugins.adminPaths),
  };
  return paths;
}

function ok(json: object): AdminAnswer {
  return { status: 200, json };
}
