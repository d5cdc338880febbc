import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describeRouteSource, fakeHost } from '@meshgate/testkit';
import { expect, it } from 'vitest';
import plugin, { httpSource } from '../src/http-source.ts';

interface Service extends AsyncDisposable {
  readonly url: URL;
}

/** An HTTP service that responds with the current `routes`. */
async function service(routes: () => object, status = 200): Promise<Service> {
  const server = createServer((_request, response) => response.writeHead(status).end(JSON.stringify(routes())));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const stop = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { url: new URL(`http://127.0.0.1:${port}/`), [Symbol.asyncDispose]: stop };
}

// The contract with core, checked by the testkit's suite.
describeRouteSource('the source of the example', {
  async create() {
    let port = 8443;
    const http = await service(() => ({ 'api.example.com': [`10.0.0.1:${port}`] }));
    return {
      source: httpSource(http.url, 5),
      change: async () => void (port += 1),
      dispose: () => http[Symbol.asyncDispose](),
    };
  },
});

it('turns the response into routes', async () => {
  await using http = await service(() => ({ 'api.example.com': ['10.0.0.1:8443', '[::1]:443'] }));
  const enough = new AbortController();
  for await (const { routes } of httpSource(http.url, 1).watch(enough.signal)) {
    expect(routes).toEqual([
      {
        name: 'api.example.com',
        serverNames: ['api.example.com'],
        backends: [
          { address: { host: '10.0.0.1', port: 8443 }, weight: 1, healthy: true },
          { address: { host: '::1', port: 443 }, weight: 1, healthy: true },
        ],
      },
    ]);
    break;
  }
});

it('throws on an error page, whatever its body, so that no route is removed', async () => {
  await using http = await service(() => ({}), 503);
  const values = httpSource(http.url, 1).watch(new AbortController().signal)[Symbol.asyncIterator]();
  await expect(values.next()).rejects.toThrow('expected 200, found 503');
});

it.each([
  [{}, 'url: expected a URL such as http://127.0.0.1:8080/routes.json'],
  [{ url: 'http://127.0.0.1/', intervalMs: 'often' }, 'intervalMs: expected a number of milliseconds, 1 or more'],
])('rejects the settings %j', async (settings, message) => {
  await expect(fakeHost().install(plugin, settings)).rejects.toThrow(message);
});
