import type { Observer } from '@meshgate/core';
import { recorder, tlsBackend, tlsClient } from '@meshgate/testkit';
import { expect, it } from 'vitest';
import { startProxy } from '../src/proxy.ts';

it('carries TLS to the backend of the server name, reports it even if another observer fails, and stops when the connection has finished', async () => {
  await using api = await tlsBackend('api.example.com');
  const backends = [{ address: api.address, weight: 1, healthy: true }];
  const source = {
    name: 'fixed',
    async *watch(signal: AbortSignal) {
      yield { version: '1', routes: [{ name: 'api', serverNames: ['api.example.com'], backends }] };
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
    },
  };
  const events = recorder();
  const broken: Observer = {
    name: 'broken',
    observe() {
      throw new Error('oops');
    },
  };
  const proxy = await startProxy({ host: '127.0.0.1', port: 0 }, source, [broken, events]);
  await using client = await tlsClient(proxy.address, 'api.example.com', { ca: api.ca });
  expect(await client.echo('hello')).toBe('hello');
  const stopped = proxy.stop();
  client.end();
  await stopped;
  expect(events.last('observer.threw')).toMatchObject({ observer: 'broken', error: { message: 'oops' } });
  expect(events.last('connection.closed')?.closed).toMatchObject({ route: { name: 'api' }, attempts: 1 });
});
