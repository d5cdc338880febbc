import { expect, it } from 'vitest';
import { peerListener, rawClient, relay } from '@meshgate/testkit';
import { uringTransport } from '../src/transport.ts';
import { describeWithUring } from './available.ts';

const BUFFERS = 4;
const CONNECTIONS = 60;

describeWithUring('an idle connection', () => {
  it('holds no buffer: with four of them, sixty connections are idle and each is served when it sends', async () => {
    await using backend = await peerListener();
    await using proxy = await relay(uringTransport({ buffers: BUFFERS }), backend.address);
    const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => rawClient(proxy.address)));
    const servers = await Promise.all(clients.map(() => backend.accept()));
    for (const round of ['one by one', 'and once more, after a silence']) {
      for (const client of clients) await client.send(round);
      await Promise.all(servers.map((server) => server.receive(round.length)));
      await Promise.all(servers.map((server) => server.send(round)));
      const responses = await Promise.all(clients.map((client) => client.receive(round.length)));
      expect(new Set(responses.map((response) => response.toString()))).toEqual(new Set([round]));
    }
    for (const peer of [...clients, ...servers]) peer.end();
    await Promise.all(clients.map(({ closed }) => closed));
  });

  it('loses nothing when all of them send at once, and there are too few buffers', async () => {
    await using backend = await peerListener();
    await using proxy = await relay(uringTransport({ buffers: 1 }), backend.address);
    const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => rawClient(proxy.address)));
    const servers = await Promise.all(clients.map(() => backend.accept()));
    const text = 'x'.repeat(20_000);
    for (const client of clients) void client.send(text).then(() => client.end());
    const received = await Promise.all(servers.map((server) => server.receiveAll()));
    expect(received.map((bytes) => bytes.length)).toEqual(clients.map(() => text.length));
    for (const server of servers) server.end();
    await Promise.all(clients.map(({ closed }) => closed));
  });
});
