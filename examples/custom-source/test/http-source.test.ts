import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { RouteSource } from '@meshgate/core';
import { expect, it } from 'vitest';
import { httpSource } from '../src/http-source.ts';

/** An HTTP service that answers with `answers`, one after the other, and the last one from then on. */
async function service(...answers: readonly object[]): Promise<AsyncDisposable & { readonly url: URL }> {
  let asked = 0;
  const server = createServer((_request, response) => {
    response.end(JSON.stringify(answers[Math.min(asked, answers.length - 1)]));
    asked += 1;
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const stop = async (): Promise<void> => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  };
  return { url: new URL(`http://127.0.0.1:${port}/`), [Symbol.asyncDispose]: stop };
}

/** The first `count` words of `source`. */
async function words(source: RouteSource, count: number): Promise<readonly unknown[]> {
  const heard: unknown[] = [];
  const enough = new AbortController();
  for await (const { routes } of source.watch(enough.signal)) {
    if (heard.push(routes) === count) break;
  }
  enough.abort();
  return heard;
}

it('turns each answer into routes', async () => {
  await using http = await service({ 'api.example.com': ['10.0.0.1:8443', '[::1]:443'] }, {});
  expect(await words(httpSource(http.url, 1), 2)).toEqual([
    [
      {
        name: 'api.example.com',
        serverNames: ['api.example.com'],
        backends: [
          { address: { host: '10.0.0.1', port: 8443 }, weight: 1, healthy: true },
          { address: { host: '::1', port: 443 }, weight: 1, healthy: true },
        ],
      },
    ],
    [],
  ]);
});
