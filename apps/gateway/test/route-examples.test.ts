// The examples of route files in the docs, each with a client for every name and listener in it. Their backends are on
// loopback here.
import { createProxy, formatEndpoint } from '@meshgate/core';
import type { Endpoint, Proxy, Route } from '@meshgate/core';
import { parseRouteFile } from '@meshgate/file-source';
import { proxyProtocolBackends } from '@meshgate/filters';
import { sniSniffer } from '@meshgate/sni';
import { clientHello, inRecords, rawClient, recorder, tcpBackend } from '@meshgate/testkit';
import type { Recorder, TestBackend } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { pageText } from './page.ts';

/** The fence label of the route file examples on each page. */
const PAGES = { 'docs/routes.md': '', 'docs/access.md': 'routes', 'docs/filters.md': 'routes' } as const;

const EXAMPLES = Object.entries(PAGES).flatMap(([page, fence]) =>
  Array.from(pageText(page).matchAll(/^```yaml ?(.*)\n([^]*?)^```$/gm), ([, label, text = '']) => ({ label, text }))
    .filter(({ label }) => label === fence)
    .map(({ text }) => ({ page, routes: parseRouteFile(text, '/etc/meshgate/routes.yaml').routes })),
);

/** Listeners that always exist, and those that routes name. */
function listenersOf(routes: readonly Route[]): readonly string[] {
  return [...new Set(['main', ...routes.flatMap(({ listeners = [] }) => listeners)])];
}

/** A gateway with the routes of an example, and a backend for each address in it. */
class Scene implements AsyncDisposable {
  readonly events: Recorder = recorder();
  readonly #backends = new Map<string, TestBackend>();
  #proxy: Proxy | undefined;

  async start(routes: readonly Route[]): Promise<void> {
    for (const { address } of routes.flatMap(({ backends }) => backends)) {
      const name = formatEndpoint(address);
      if (!this.#backends.has(name)) this.#backends.set(name, await tcpBackend(name));
    }
    this.#proxy = createProxy({
      listen: listenersOf(routes).map((name) => ({ name, endpoint: { host: '127.0.0.1', port: 0 } })),
      routes: routes.map((route) => ({ ...route, backends: route.backends.map((one) => this.#moved(one)) })),
      sniffers: [sniSniffer()],
      observers: [this.events],
      layers: [proxyProtocolBackends()],
      drain: { graceMs: 0, spreadMs: 0 },
    });
    await this.#proxy.start();
  }

  /** The address of a listener. */
  at(listener: string): Endpoint {
    return this.#proxy?.addresses.get(listener) ?? { host: '', port: 0 };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#proxy?.stop();
    for (const backend of this.#backends.values()) await backend[Symbol.asyncDispose]();
  }

  #moved<B extends Route['backends'][number]>(backend: B): B {
    return { ...backend, address: this.#backends.get(formatEndpoint(backend.address))?.address ?? backend.address };
  }
}

/** The outcome for a client of this listener that requests a name, or none: a route, or a code. */
async function outcome(scene: Scene, listener: string, serverName: string | undefined): Promise<string | undefined> {
  const hello = inRecords(clientHello(serverName === undefined ? {} : { serverName }));
  const before = scene.events.all('connection.closed').length;
  await using client = await rawClient(scene.at(listener));
  await client.send(hello);
  const answered = await client.receive(1).catch(() => undefined);
  if (answered !== undefined) client.reset();
  const closes = await scene.events.untilCount('connection.closed', before + 1);
  const closed = closes.at(-1)?.closed;
  return answered === undefined ? closed?.error?.code : closed?.route?.name;
}

describe.each(EXAMPLES)('an example of $page', ({ routes }) => {
  const names = (routes[0]?.name ?? 'none') + (routes.length > 1 ? ` and ${routes.length - 1} more` : '');

  it(`routes clients as documented: ${names}`, async () => {
    await using scene = new Scene();
    await scene.start(routes);
    const found: unknown[] = [];
    const expected: unknown[] = [];
    for (const route of routes) {
      // Routes to the internet, or through parts of plugins, are tested elsewhere.
      if (route.egress !== undefined || route.use !== undefined) continue;
      const [listener = 'main'] = route.listeners ?? [];
      const queried = [...route.serverNames, ...(route.fallback === true ? [undefined] : [])];
      for (const name of queried) {
        const serverName = name?.replace(/^\*$/, 'anything.test').replace(/^\*\./, 'some.');
        found.push([serverName, await outcome(scene, listener, serverName)]);
        // No client here has an address that it allows.
        expected.push([serverName, route.access?.allow === undefined ? route.name : 'CLIENT_DENIED']);
      }
    }
    expect(found).toEqual(expected);
  });
});
