import type { Route } from '@meshgate/core';
import { describeObserver, describeRouteSource, recorder, staticSource } from '../src/index.ts';

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

function route(name: string): Route {
  const address = { host: '127.0.0.1', port: 8443 };
  return { name, serverNames: [`${name}.example.com`], backends: [{ address, weight: 1, healthy: true }] };
}
