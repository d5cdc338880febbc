import { observers, RouteStore } from '@meshgate/core/parts';
import type { ListenAddress } from '@meshgate/core';
import type { Amend } from '../config/amend-config.ts';
import { explain } from '../cli/explain.ts';
import type { Explanation } from '../cli/explain.ts';
import type { GatewayConfig } from '../config/config-schema.ts';
import { loadConfig } from '../config/load-config.ts';
import type { AdminClient } from './client.ts';
import type { LoadedConfig } from '../config/load-config.ts';
import type { InstalledParts } from '../config/parts.ts';
import { withRouteWarnings } from '../config/route-warnings.ts';
import { routesView } from './views.ts';
import type { RouteTableView } from './views.ts';

/** Queries of routes, from a running gateway or from a configuration. */
export interface RouteQueries {
  routes(): Promise<RouteTableView>;
  /** Explains which route matches `serverName`. @param listener listener of the connection; any when absent */
  explain(serverName: string, listener?: string): Promise<Explanation>;
}

/** Returns queries to a running gateway. They reject when it does not respond, or responds with an error. */
export function queriesTo(gateway: AdminClient): RouteQueries {
  return {
    routes: async () => (await gateway.get('/routes')) as RouteTableView,
    explain: async (serverName, listener) => {
      const query = new URLSearchParams({ serverName, ...(listener !== undefined && { listener }) });
      return (await gateway.get(`/explain?${query.toString()}`)) as Explanation;
    },
  };
}

/**
 * Returns queries of a configuration, as a gateway started now would see it: follows the sources until each has a
 * snapshot. They reject with `ConfigProblems` when the configuration is invalid.
 */
export function queriesOf(file: string | undefined, amend: Amend): RouteQueries {
  return {
    routes: () =>
      withRoutes(file, amend, ({ table, sources }, { config, parts }) => {
        const known = listenersOf(config, parts);
        const shown = known === undefined ? sources : withRouteWarnings(sources, table, known);
        const { limits, prefer } = config;
        return routesView({ table, sources: shown }, { connectTimeoutMs: limits.connectTimeoutMs, prefer });
      }),
    explain: (serverName, listener) =>
      withRoutes(file, amend, ({ table }, { config, parts }) => {
        const listeners = listenersOf(config, parts);
        return explain(serverName, table, {
          ...(listener !== undefined && { listener }),
          ...(listeners !== undefined && { listeners }),
          prefer: config.prefer,
        });
      }),
  };
}

async function withRoutes<Result>(
  file: string | undefined,
  amend: Amend,
  respond: (store: RouteStore, loaded: LoadedConfig) => Result,
): Promise<Result> {
  const loaded = await loadConfig(file, amend);
  const store = new RouteStore({ sources: loaded.parts.sources, observer: observers([]) });
  await store.start(new AbortController().signal);
  try {
    return respond(store, loaded);
  } finally {
    await store.stop();
  }
}

/** Returns `undefined` when a source defines the listeners, since it is not queried here. */
function listenersOf(
  { listeners }: GatewayConfig,
  { listenerSources }: InstalledParts,
): readonly ListenAddress[] | undefined {
  return listenerSources.length > 0 ? undefined : listeners;
}
