import { observers, RouteStore } from '@meshgate/core/parts';
import type { Amend } from '../config/amend-config.ts';
import { explain } from '../cli/explain.ts';
import type { Explanation } from '../cli/explain.ts';
import { loadConfig } from '../config/load-config.ts';
import type { AdminClient } from './client.ts';
import { routesView } from './views.ts';
import type { RoutesView } from './views.ts';

/** Answers about routes, from wherever they are known. */
export interface RouteQueries {
  routes(): Promise<RoutesView>;
  /** @param listener whose connection it would be; any when absent */
  explain(serverName: string, listener?: string): Promise<Explanation>;
}

/** From a gateway that runs. Rejects when it does not answer, or with an error. */
export function queriesTo(gateway: AdminClient): RouteQueries {
  return {
    routes: async () => (await gateway.get('/routes')) as RoutesView,
    explain: async (serverName, listener) => {
      const query = new URLSearchParams({ serverName, ...(listener !== undefined && { listener }) });
      return (await gateway.get(`/explain?${query.toString()}`)) as Explanation;
    },
  };
}

/**
 * From a configuration file, as a gateway would see it that started now: its sources are followed until each has a snapshot.
 * Rejects with `ConfigProblems` when it is wrong.
 */
export function queriesOf(file: string, amend: Amend): RouteQueries {
  return {
    routes: () => withRoutes(file, amend, (store, timeoutMs) => routesView(store, timeoutMs)),
    explain: (serverName, listener) =>
      withRoutes(file, amend, (store) => explain(serverName, store.table, listener === undefined ? {} : { listener })),
  };
}

async function withRoutes<Answer>(
  file: string,
  amend: Amend,
  answer: (store: RouteStore, connectTimeoutMs: number) => Answer,
): Promise<Answer> {
  const { config, parts } = await loadConfig(file, amend);
  const store = new RouteStore({ sources: parts.sources, observer: observers([]) });
  await store.start(new AbortController().signal);
  try {
    return answer(store, config.limits.connectTimeoutMs);
  } finally {
    await store.stop();
  }
}
