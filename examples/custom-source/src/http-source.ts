import { createHash } from 'node:crypto';
import { ConfigProblems, definePlugin, parseEndpoint, pause } from '@meshgate/core';
import type { Backend, RouteSnapshot, RouteSource } from '@meshgate/core';

/** Above the response time of any healthy service, below any operator's patience. */
const TIMEOUT_MS = 5_000;

/** Routes from an HTTP service that returns `{ "api.example.com": ["10.0.0.1:8443"] }`, polled every `intervalMs`. */
export function httpSource(url: URL, intervalMs: number): RouteSource {
  return {
    name: `http:${url.host}`,
    async *watch(signal) {
      try {
        for (; !signal.aborted; await pause(intervalMs, signal)) yield toSnapshot(await responseOf(url, signal));
      } catch (reason) {
        // When its signal aborts, a source returns. Anything else means "restart me": the last routes stay in use
        // meanwhile.
        if (!signal.aborted) throw reason;
      }
    },
  };
}

/** An error page is not a list of routes, whatever its body: it throws, so that no route is removed. */
async function responseOf(url: URL, signal: AbortSignal): Promise<string> {
  const querying = new AbortController();
  const giveUp = (): void => querying.abort(new Error(`${url.href}: no response within ${TIMEOUT_MS} ms`));
  const timer = setTimeout(giveUp, TIMEOUT_MS);
  signal.addEventListener('abort', giveUp);
  try {
    const response = await fetch(url, { signal: querying.signal });
    if (!response.ok) throw new Error(`${url.href}: expected 200, found ${response.status}`);
    return await response.text();
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', giveUp);
  }
}

function toSnapshot(text: string): RouteSnapshot {
  const routes = Object.entries(Object(JSON.parse(text)) as Record<string, unknown>).map(([name, addresses]) => {
    if (!Array.isArray(addresses)) throw new TypeError(`${name}: expected a list of addresses, found something else`);
    return { name, serverNames: [name], backends: addresses.map(toBackend) };
  });
  return { version: createHash('sha256').update(text).digest('hex'), routes };
}

function toBackend(written: unknown): Backend {
  const address = parseEndpoint(String(written));
  if (address === undefined) throw new TypeError(`expected host:port, found ${JSON.stringify(written)}`);
  return { address, weight: 1, healthy: true };
}

/** So that a configuration can use it: `use: ./http-source.js`, with the keys `url` and `intervalMs`. */
export default definePlugin({
  name: 'http',
  parse(config) {
    const { url, intervalMs = 5_000 } = Object(config) as { readonly url?: unknown; readonly intervalMs?: unknown };
    if (typeof url !== 'string' || !URL.canParse(url))
      throw new ConfigProblems([
        { path: ['url'], message: 'expected a URL such as http://127.0.0.1:8080/routes.json' },
      ]);
    if (typeof intervalMs !== 'number' || intervalMs < 1)
      throw new ConfigProblems([{ path: ['intervalMs'], message: 'expected a number of milliseconds, 1 or more' }]);
    return { url: new URL(url), intervalMs };
  },
  setup: (host, { url, intervalMs }) => host.addSource(httpSource(url, intervalMs)),
});
