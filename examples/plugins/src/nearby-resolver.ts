import { ConfigProblems, definePlugin } from '@meshgate/core';
import type { Resolver, Route } from '@meshgate/core';

/** Routes clients whose address begins with `prefix` to a backend near them. */
export function nearby(prefix: string, route: Route): Resolver {
  return { resolve: (_hello, { remote }) => (remote.host.startsWith(prefix) ? route : undefined) };
}

/** To enable: `use: [ { name: nearby, prefix: '10.1.', route: api-nearby, host: 10.1.0.5, port: 8443 } ]`. */
export default definePlugin({
  name: 'nearby',
  parse: () => undefined,
  setup: (host) =>
    host.offerResolver('nearby', (settings) => {
      const { prefix, route: name, host: backend, port } = settings as Record<string, unknown>;
      if (typeof prefix !== 'string' || typeof name !== 'string' || typeof backend !== 'string')
        throw new ConfigProblems([{ path: [], message: 'expected prefix, route and host, each a string' }]);
      if (typeof port !== 'number') throw new ConfigProblems([{ path: ['port'], message: 'expected a port' }]);
      const address = { host: backend, port };
      return nearby(prefix, { name, serverNames: [], backends: [{ address, weight: 1, healthy: true }] });
    }),
});
