// A gateway's settings for routes from Consul, each with a real agent and its effect on clients.
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { consulSource, optionsOf, parseSettings } from '@meshgate/consul-source';
import { createProxy } from '@meshgate/core';
import type { Proxy } from '@meshgate/core';
import { proxyProtocolBackends } from '@meshgate/filters';
import { sniSniffer } from '@meshgate/sni';
import {
  clientHello,
  inRecords,
  rawClient,
  recorder,
  refusingAddress,
  tcpBackend,
  tlsBackend,
  tlsClient,
} from '@meshgate/testkit';
import type { Peer, Recorder } from '@meshgate/testkit';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWithConsul, startConsul } from './sidecar/agent.ts';
import type { ConsulAgent } from './sidecar/agent.ts';

const START_MS = 60_000;

describeWithConsul('a setting of the routes of Consul', () => {
  let consul: ConsulAgent;
  let trustDomain: string;
  beforeAll(async () => {
    consul = await startConsul();
    const roots = (await consul.send('GET', 'agent/connect/ca/roots')) as { readonly TrustDomain: string };
    trustDomain = roots.TrustDomain;
  }, START_MS);
  afterAll(() => consul[Symbol.asyncDispose]());

  const nameOf = (service: string): string => `${service}.default.dc1.internal.${trustDomain}`;

  /** A proxy of `service` at each address, with a check of that status. */
  async function register(service: string, ...ports: readonly number[]): Promise<void> {
    await consul.send('PUT', 'catalog/register', location(service, { Service: { Service: service, Port: 80 } }));
    for (const port of ports) await setStatus(service, port, 'passing');
  }

  async function setStatus(service: string, port: number, Status: string): Promise<void> {
    const id = `${service}-${port}`;
    const Proxy = { DestinationServiceName: service };
    const Service = {
      ID: id,
      Service: `${service}-proxy`,
      Kind: 'connect-proxy',
      Address: '127.0.0.1',
      Port: port,
      Proxy,
    };
    const Checks = [{ CheckID: id, Name: 'up', ServiceID: id, Status }];
    await consul.send('PUT', 'catalog/register', location(service, { Service, Checks }));
  }

  /** A gateway that has the route of `service`. */
  async function gateway(service: string, routes: object): Promise<GatewayUnderTest> {
    const options = optionsOf(parseSettings({ address: consul.address, routes }), import.meta.dirname);
    const events = recorder();
    const proxy = createProxy({
      listen: { host: '127.0.0.1', port: 0 },
      sniffers: [sniSniffer()],
      sources: [consulSource(options)],
      layers: [proxyProtocolBackends()],
      observers: [events],
    });
    await proxy.start();
    await events.until('routes.replaced', ({ snapshot }) =>
      snapshot.routes.some(({ name }) => name === `service:${service}`),
    );
    return { proxy, events, [Symbol.asyncDispose]: () => proxy.stop(AbortSignal.abort()) };
  }

  async function closedWith({ events }: GatewayUnderTest, code: string): Promise<void> {
    await events.until('connection.closed', ({ closed }) => closed.error?.code === code);
  }

  it('access: clients by address, for all routes or one kind of them', async () => {
    await using backend = await tlsBackend('db');
    await register('guarded', backend.address.port);
    await using denying = await gateway('guarded', { access: { deny: ['127.0.0.0/8'] } });
    await expect(tlsClient(denying.proxy.address, nameOf('guarded'))).rejects.toThrow();
    await closedWith(denying, 'CLIENT_DENIED');
    const ofKind = { 'local-service': { access: { allow: ['127.0.0.1'] } } };
    await using allowing = await gateway('guarded', { access: { deny: ['127.0.0.0/8'] }, ofKind });
    await using client = await tlsClient(allowing.proxy.address, nameOf('guarded'));
    expect(client.serverCertificateName).toBe('db');
  });

  it('limits: concurrent connections', async () => {
    await using backend = await tlsBackend('db');
    await register('limited', backend.address.port);
    await using one = await gateway('limited', { limits: { connections: 1 } });
    await using first = await tlsClient(one.proxy.address, nameOf('limited'));
    expect(first.serverCertificateName).toBe('db');
    await expect(tlsClient(one.proxy.address, nameOf('limited'))).rejects.toThrow();
    await closedWith(one, 'LIMIT_REACHED');
  });

  it('proxyProtocol: backends get the client address before the first byte', async () => {
    await using echo = await tcpBackend('echo');
    await register('told', echo.address.port);
    await using informing = await gateway('told', { proxyProtocol: 'v1' });
    await using client = await rawClient(informing.proxy.address);
    await client.send(helloFor(nameOf('told')));
    const { host, port } = client.local;
    const header = `PROXY TCP4 ${host} 127.0.0.1 ${port} ${informing.proxy.address.port}\r\n`;
    expect((await client.receive(header.length)).toString()).toBe(header);
  });

  it('healthCheck: detects an unhealthy instance that Consul reports as healthy', async () => {
    await using backend = await tlsBackend('db');
    await using dead = await refusingAddress();
    await register('checked', backend.address.port, dead.address.port);
    await using checking = await gateway('checked', { healthCheck: { interval: '100ms', fall: 1 } });
    await checking.events.until('backend.down', ({ address }) => address.port === dead.address.port);
    for (let turn = 0; turn < 4; turn += 1) await reach(checking, nameOf('checked'));
    expect(checking.events.all('dial.failed')).toEqual([]);
  });

  it('retryBeforeFirstByte: another instance replaces one that accepts and closes', async () => {
    await using backend = await tlsBackend('db');
    await using closing = await closingServer();
    await register('retried', backend.address.port, closing.port);
    await using retrying = await gateway('retried', { retryBeforeFirstByte: true });
    for (let turn = 0; turn < 4; turn += 1) await reach(retrying, nameOf('retried'));
    expect(retrying.events.all('connection.retried')).not.toEqual([]);
  });

  it('onBackendRemoved: connections of an instance that is deregistered are closed', async () => {
    await using backend = await tlsBackend('db');
    const { port } = backend.address;
    await register('removed', port);
    await using closing = await gateway('removed', { onBackendRemoved: { grace: '0s', spread: '0s' } });
    await using client = await tlsClient(closing.proxy.address, nameOf('removed'));
    expect(client.serverCertificateName).toBe('db');
    const gone = { Node: 'node-removed', ServiceID: `removed-${port}` };
    await consul.send('PUT', 'catalog/deregister', gone);
    await closedWith(closing, 'BACKEND_REMOVED');
  });

  it('onBackendDown: connections of an instance whose check fails are closed', async () => {
    await using backend = await tlsBackend('db');
    const { port } = backend.address;
    await register('down', port);
    await using closing = await gateway('down', { onBackendDown: { grace: '0s', spread: '0s' } });
    await using client = await tlsClient(closing.proxy.address, nameOf('down'));
    expect(client.serverCertificateName).toBe('db');
    await setStatus('down', port, 'critical');
    await closedWith(closing, 'BACKEND_REMOVED');
  });
});

interface GatewayUnderTest extends AsyncDisposable {
  readonly proxy: Proxy;
  readonly events: Recorder;
}

function location(service: string, what: object): object {
  return { Node: `node-${service}`, Address: '127.0.0.1', ...what };
}

async function reach({ proxy }: GatewayUnderTest, serverName: string): Promise<void> {
  await using client: Peer = await tlsClient(proxy.address, serverName);
  client.end();
}

function helloFor(serverName: string): Uint8Array {
  return inRecords(clientHello({ serverName }));
}

/** Accepts a connection, reads the first bytes, and closes it. */
async function closingServer(): Promise<{ readonly port: number } & AsyncDisposable> {
  const server = createServer((socket) => socket.on('error', () => undefined).once('data', () => socket.end()));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, 'close');
    },
  };
}
