import { consulParts } from '@meshgate/consul-source';
import { observers, RouteStore } from '@meshgate/core/parts';

/** The server names that a mesh gateway of this agent routes. */
export async function namesRouted(address: string): Promise<readonly string[]> {
  const { routes } = consulParts({ address });
  const store = new RouteStore({ sources: [routes], observer: observers([]) });
  await store.start(new AbortController().signal);
  await store.stop();
  return store.table.indexes.flatMap(({ exact }) => [...exact.keys()]);
}
