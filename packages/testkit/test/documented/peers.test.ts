import { describeObserver, peerListener, rawClient, tlsBackend, tlsClient } from '@meshgate/testkit';
import { expect, it } from 'vitest';

it('a backend echoes what it receives', async () => {
  await using backend = await tlsBackend('web.internal');
  await using client = await tlsClient(backend.address, 'web.internal', { ca: backend.ca });
  expect(await client.echo('hello')).toBe('hello');
});

const counts = new Map<string, number>();
const counter = { observe: ({ type }: { type: string }) => void counts.set(type, (counts.get(type) ?? 0) + 1) };
describeObserver('a counter of events', () => counter);

it('a server that resets in the middle of a response is distinguished from one that has finished', async () => {
  await using listener = await peerListener();
  await using client = await rawClient(listener.address);
  const server = await listener.accept();
  await server.send('half of it');
  await client.receive(10);
  server.reset();
  expect(await client.closed).toMatchObject({ kind: 'lost', error: { code: 'ECONNRESET' } });
});
