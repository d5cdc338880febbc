import type { ListenAddress, Route, RouteSnapshot } from '@meshgate/core';
import { describeListenerSource, describeObserver, describeRouteSource, recorder } from '../src/index.ts';
import { staticSource } from '@meshgate/core';

describeObserver('the recorder', recorder, { keepsClosedConnections: true });

describeRouteSource('a static source', {
  create() {
    const source = staticSource('static', [route('first')]);
    let changes = 0;
    return Promise.resolve({
      source,
      change() {
        source.set([route('first'), route(`change-${(changes += 1)}`)]);
        return Promise.resolve();
      },
      dispose: () => Promise.resolve(),
    });
  },
});

describeListenerSource('listeners of a static source', {
  create() {
    const routes = staticSource('static', [route('first')]);
    let changes = 0;
    return Promise.resolve({
      source: { name: 'static', watch: (signal) => listeners(routes.watch(signal)) },
      change() {
        routes.set([route('first'), route(`change-${(changes += 1)}`)]);
        return Promise.resolve();
      },
      dispose: () => Promise.resolve(),
    });
  },
});

/** One listener for each route. */
async function* listeners(snapshots: AsyncIterable<RouteSnapshot>): AsyncGenerator<readonly ListenAddress[]> {
  for await (const { routes } of snapshots) yield routes.map(({ name }) => ({ name, endpoint: LOOPBACK }));
}

const LOOPBACK = { host: '127.0.0.1', port: 0 };

function route(name: string): Route {
  const address = { host: '127.0.0.1', port: 8443 };
  return { name, serverNames: [`${name}.example.com`], backends: [{ address, weight: 1, healthy: true }] };
}
