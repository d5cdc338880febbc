// The commands when another server listens at the admin address, such as another proxy's admin API.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { adminClient } from '../src/admin/client.ts';
import type { AdminClient } from '../src/admin/client.ts';

interface Stranger extends AsyncDisposable {
  readonly client: AdminClient;
  readonly name: string;
}

/** A server that responds to every request with `body`. */
async function stranger(body: string, contentType = 'application/json'): Promise<Stranger> {
  const server = createServer((_request, response) => response.setHeader('content-type', contentType).end(body));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  const close = (): Promise<unknown> => new Promise((resolve) => server.close(resolve));
  return { client: adminClient(url), name: url.href, [Symbol.asyncDispose]: () => close().then(() => undefined) };
}

const STRANGE: readonly (readonly [body: string, type: string | undefined, found: string])[] = [
  ['<html>log in</html>', 'text/html', 'text/html'],
  ['', 'text/plain', 'text/plain'],
  ['[1, 2', undefined, 'application/json'],
  ['null', undefined, 'other JSON'],
  ['[]', undefined, 'other JSON'],
  ['{}', undefined, 'other JSON'],
  ['{"routes":{},"closed":"all","connections":1,"drain":null,"changes":"none","pid":"x"}', undefined, 'other JSON'],
];

describe('a server that is no gateway', () => {
  it.each(STRANGE)('is recognized by %j', async (body, type, found) => {
    await using other = await stranger(body, type);
    const { client, name } = other;
    const requests = [
      ['GET /routes', () => client.get('/routes')],
      ['GET /explain?serverName=a', () => client.get('/explain?serverName=a')],
      ['GET /connections?route=a', () => client.get('/connections?route=a')],
      ['GET /listeners', () => client.get('/listeners')],
      ['GET /status', () => client.get('/status')],
      ['GET /drain?wait=1s', () => client.get('/drain?wait=1s')],
      ['POST /drain', () => client.change('POST', '/drain')],
      ['POST /reload', () => client.change('POST', '/reload')],
      ['POST /upgrade', () => client.change('POST', '/upgrade')],
      ['DELETE /connections/5', () => client.change('DELETE', '/connections/5')],
      ['POST /connections/close?route=a', () => client.change('POST', '/connections/close?route=a')],
      ['PUT /log-level?level=info', () => client.change('PUT', '/log-level?level=info')],
    ] as const;
    for (const [request, response] of requests)
      await expect(response()).rejects.toThrow(
        `${name} is not the admin API of a gateway: ${request} responded with ${found}`,
      );
  });
});
