import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { clientHello, inRecords, rawClient, tcpBackend } from '@meshgate/testkit';
import type { Endpoint } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { gatewayFolder, startGateway } from './daemon.ts';
import { writeFile } from 'node:fs/promises';

const HELLO = inRecords(clientHello({ serverName: 'api.example.com' }));

/** Keeps `count` silent connections open from another address of this machine, replacing each that is closed. */
class SilentCrowd implements Disposable {
  readonly #sockets = new Set<Socket>();
  readonly #to: Endpoint;
  #over = false;

  constructor(to: Endpoint) {
    this.#to = to;
  }

  async fill(count: number): Promise<void> {
    for (let index = 0; index < count; index += 1) await once(this.#open(), 'connect');
  }

  #open(): Socket {
    const socket = connect({ host: this.#to.host, port: this.#to.port, localAddress: '127.0.0.2' });
    this.#sockets.add(socket);
    socket
      .on('error', () => undefined)
      .on('close', () => {
        this.#sockets.delete(socket);
        if (!this.#over) this.#open();
      });
    return socket;
  }

  [Symbol.dispose](): void {
    this.#over = true;
    for (const socket of this.#sockets) socket.destroy();
  }
}

async function gatewayWith(limits: string) {
  const backend = await tcpBackend('api');
  const folder = await gatewayFolder([{ name: 'api.example.com', address: backend.address }]);
  const config = `listeners: [ { name: main, address: 127.0.0.1, port: 0 } ]
sources: [ { use: file, path: routes.yaml } ]
admin: { address: 127.0.0.1, port: 0 }
limits: ${limits}
`;
  await writeFile(join(folder.path, 'meshgate.yaml'), config);
  const gateway = await startGateway(`${folder.path}/meshgate.yaml`);
  return {
    gateway,
    async [Symbol.asyncDispose](): Promise<void> {
      await gateway[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
      await backend[Symbol.asyncDispose]();
    },
  };
}

// Only Linux has all of 127.0.0.0/8 on its loopback interface.
describe.skipIf(process.platform !== 'linux')('one client with silent connections', () => {
  it('does not block others: its own oldest ones are closed', async () => {
    await using one = await gatewayWith('{ pendingHellos: 16 }');
    using crowd = new SilentCrowd(one.gateway.address);
    await crowd.fill(16);
    for (let round = 0; round < 20; round += 1) {
      await using client = await rawClient(one.gateway.address);
      await client.send(HELLO);
      expect((await client.receive(HELLO.length)).equals(HELLO)).toBe(true);
    }
    const line = await one.gateway.line(({ code }) => code === 'LIMIT_REACHED');
    expect(line).toMatchObject({
      remote: expect.stringMatching(/^127\.0\.0\.2:/),
      reason:
        'limits.pendingHellos: too many pending handshakes (limit 16), the oldest of the largest client is closed',
    });
  });

  it('gets its own share, and no more', async () => {
    await using one = await gatewayWith('{ perClient: { connections: 4 } }');
    using crowd = new SilentCrowd(one.gateway.address);
    await crowd.fill(5);
    const refused = await one.gateway.line(({ reason, msg }) =>
      `${String(reason)} ${String(msg)}`.includes('perClient'),
    );
    expect(JSON.stringify(refused)).toContain('limits.perClient.connections: 127.0.0.2 has 4 connections');
    await using client = await rawClient(one.gateway.address);
    await client.send(HELLO);
    expect((await client.receive(HELLO.length)).equals(HELLO)).toBe(true);
  });
});
