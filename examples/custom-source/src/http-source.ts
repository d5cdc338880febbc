import { createHash } from 'node:crypto';
import { definePlugin, parseEndpoint, pause } from '@meshgate/core';
import type { RouteSnapshot, RouteSource } from '@meshgate/core';

/** Routes from an HTTP service that answers `{ "api.example.com": ["10.0.0.1:8443"] }`, asked again after each `intervalMs`. */
export function httpSource(url: URL, intervalMs: number): RouteSource {
  return {
    name: `http:${url.host}`,
    async *watch(signal) {
      try {
        for (; !signal.aborted; await pause(intervalMs, signal)) {
          const response = await fetch(url, { signal });
          yield toSnapshot(await response.text());
        }
      } catch (reason) {
        // Told to leave, a source returns. Anything else means "start me again": the last routes stay in use meanwhile.
        if (!signal.aborted) throw reason;
      }
    },
  };
}

function toSnapshot(text: string): RouteSnapshot {
  const routes = Object.entries(JSON.parse(text) as Record<string, string[]>).map(([name, addresses]) => ({
    name,
    serverNames: [name],
    backends: addresses.map(parseEndpoint).flatMap((address) => (address ? { address, weight: 1, healthy: true } : [])),
  }));
  return { version: createHash('sha256').update(text).digest('hex'), routes };
}

/** So that a configuration can name it: `use: ./http-source.js`, with the keys `url` and `intervalMs`. */
export default definePlugin({
  name: 'http',
  parse: (config) => config as { readonly url: string; readonly intervalMs: number },
  setup: (host, { url, intervalMs }) => host.addSource(httpSource(new URL(url), intervalMs)),
});
