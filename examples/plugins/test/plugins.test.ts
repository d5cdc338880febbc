// The plugins of docs/plugins, each checked by its contract suite, and against its page.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createProxy, pause, ProxyError } from '@meshgate/core';
import type { ConnectContext, FilterContext, Route } from '@meshgate/core';
import { offeredBalances } from '@meshgate/core/parts';
import { sniSniffer } from '@meshgate/sni';
import { describe, expect, it } from 'vitest';
import {
  describeBalance,
  describeLayer,
  describeObserver,
  describeResolver,
  describeService,
  eventSamples,
  fakeHost,
  sampleAccepted,
  sampleHello,
  tlsBackend,
  tlsClient,
} from '@meshgate/testkit';
import again, { tryAgain } from '../src/again-layer.ts';
import { announce } from '../src/announce-service.ts';
import nearbyPlugin, { nearby } from '../src/nearby-resolver.ts';
import onlyFrom from '../src/only-from-filter.ts';
import preview, { previewResolver } from '../src/preview-resolver.ts';
import { slowTransport } from '../src/slow-transport.ts';
import tenant, { tenantBalance } from '../src/tenant-balance.ts';
import oldTls from '../src/old-tls-observer.ts';

describeResolver('the resolver of previews', {
  create: () => ({
    resolver: previewResolver,
    known: sampleHello('red.preview.example.com'),
    unknown: sampleHello('red.example.com'),
  }),
});

it('the resolver of previews is added by its plugin', async () => {
  expect((await fakeHost().install(preview)).resolvers).toEqual([previewResolver]);
});

it('the resolver of nearby backends recognizes clients by address, and validates its settings', async () => {
  const part = (await fakeHost().install(nearbyPlugin)).offered.get('nearby');
  expect(() => part?.make({ prefix: 10 })).toThrow('expected prefix, route and host, each a string');
  const settings = { prefix: '192.', route: 'near', host: '10.1.0.5', port: 8443 };
  const resolver = part?.kind === 'resolver' ? part.make(settings) : expect.unreachable();
  expect(resolver.resolve(sampleHello(), sampleAccepted())).toMatchObject({ name: 'near' });
  expect(nearby('10.', { name: 'far', serverNames: [], backends: [] }).resolve(sampleHello(), sampleAccepted())).toBe(
    undefined,
  );
});

describeLayer('the layer that retries', () => tryAgain(1));

describe('the layer that retries', () => {
  it('is offered with validated settings', async () => {
    const layer = (await fakeHost().install(again)).offered.get('again');
    expect(() => layer?.make({ afterMs: 'soon' })).toThrow('afterMs: expected a number of milliseconds above 0');
    expect(layer?.make({ afterMs: 500 })).toBeTypeOf('function');
  });

  it('connects to a backend that starts a little later', async () => {
    let calls = 0;
    const refused = new ProxyError('CONNECT_REFUSED', 'not yet');
    const upstream = {} as never;
    const connector = tryAgain(1)({
      connect: () => (++calls === 1 ? Promise.reject(refused) : Promise.resolve(upstream)),
    });
    const context = { signal: new AbortController().signal } as ConnectContext;
    expect(await connector.connect({} as Route, context)).toBe(upstream);
  });
});

async function oldTlsObserver() {
  const fake = fakeHost();
  const [observer] = (await fake.install(oldTls)).observers;
  if (observer === undefined) throw new Error('expected an observer, found none');
  return { fake, observer };
}

describeObserver('the observer of old clients', async () => (await oldTlsObserver()).observer);

it('the observer of old clients counts and logs those without TLS 1.3', async () => {
  const { fake, observer } = await oldTlsObserver();
  const { connection, ...sniffed } = eventSamples()['connection.sniffed'];
  observer.observe({ ...sniffed, connection, hello: { ...sampleHello(), supportedVersions: [0x0303] } });
  observer.observe({ ...sniffed, connection });
  expect(fake.metric('clients_total', { listener: 'default' })).toBe(1);
  expect(fake.lines).toMatchObject([{ level: 'info', facts: { remote: '192.0.2.7' } }]);
});

describe('the filter for one network', () => {
  const filterOf = async (network: unknown) => {
    const part = (await fakeHost().install(onlyFrom)).offered.get('only-from');
    const client = { connection: sampleAccepted() } as FilterContext;
    return part?.kind === 'filter' ? part.make({ network }).filter(client) : expect.unreachable();
  };

  it('accepts clients in it, and refuses others', async () => {
    expect(await filterOf('192.0.2.0/24')).toBeUndefined();
    await expect(filterOf('10.0.0.0/8')).rejects.toMatchObject({ code: 'REFUSED_BY_POLICY' });
  });

  it('requires a network', async () => {
    await expect(filterOf('everybody')).rejects.toThrow('network: expected a network such as 10.0.0.0/8');
  });
});

/** An inventory on loopback, which responds with `status`. */
async function inventory(status = 200) {
  const methods: string[] = [];
  const server = createServer(({ method = '' }, response) => {
    methods.push(method);
    response.writeHead(status, { connection: 'close' }).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/gateways/mine`);
  const close = (): Promise<unknown> => new Promise((resolve) => server.close(resolve));
  return { url, methods, [Symbol.asyncDispose]: async () => void (await close()) };
}

const shared = await inventory();
describeService('the service that announces', () => announce(shared.url, () => undefined));

describe('the service that announces', () => {
  it('notifies the inventory when it starts and when it drains', async () => {
    await using here = await inventory();
    const service = announce(here.url, () => undefined);
    await service.start(new AbortController().signal);
    await service.drain?.(new AbortController().signal);
    expect(here.methods).toEqual(['PUT', 'DELETE']);
  });

  it('warns, but starts nevertheless, when the inventory responds with an error', async () => {
    await using here = await inventory(503);
    const warnings: unknown[] = [];
    await announce(here.url, (warning) => warnings.push(warning)).start(new AbortController().signal);
    expect(warnings).toEqual([expect.stringContaining('expected 200, found 503')]);
  });
});

it("the slow transport carries what Node's carries", async () => {
  await using api = await tlsBackend('api.example.com');
  const backends = [{ address: api.address, weight: 1, healthy: true }];
  const proxy = createProxy({
    listen: { host: '127.0.0.1', port: 0 },
    routes: [{ name: 'api', serverNames: ['api.example.com'], backends }],
    sniffers: [sniSniffer()],
    transport: slowTransport(1),
  });
  await proxy.start();
  await using client = await tlsClient(proxy.address, 'api.example.com', { ca: api.ca });
  expect(await client.echo('hello')).toBe('hello');
  await proxy.stop(AbortSignal.abort());
});

it('the slow transport cancels a dial at once', async () => {
  const given = new ProxyError('CLOSED_BY_DRAIN', 'over');
  const dial = slowTransport(60_000).dial(
    { host: '127.0.0.1', port: 1 },
    { timeoutMs: 1_000, keepAlive: { idleMs: 60_000 } },
  );
  dial.cut(given);
  await expect(dial.done).rejects.toBe(given);
  await pause(0, new AbortController().signal);
});

describeBalance('the balance of tenants', (options) => tenantBalance('zone', options));

describe('the balance of tenants', () => {
  it('keeps a tenant on its own backends, and the others on the shared ones', async () => {
    await using own = await tlsBackend('own.internal');
    await using everybody = await tlsBackend('shared.internal');
    const balances = offeredBalances((await fakeHost().install(tenant)).offered);
    const backends = [
      { address: own.address, weight: 1, healthy: true, labels: { tenant: 'acme' } },
      { address: everybody.address, weight: 1, healthy: true },
    ];
    const balance = { name: 'tenant', settings: { label: 'tenant' } };
    const proxy = createProxy({
      listen: { host: '127.0.0.1', port: 0 },
      sniffers: [sniSniffer()],
      balances: Object.fromEntries(balances),
      routes: [{ name: 'shop', serverNames: ['*.shop.example.com'], balance, backends }],
    });
    await proxy.start();
    const reached: string[] = [];
    for (const name of ['acme', 'other', 'acme', 'third']) {
      await using client = await tlsClient(proxy.address, `${name}.shop.example.com`);
      reached.push(client.serverCertificateName);
    }
    expect(reached).toEqual(['own.internal', 'shared.internal', 'own.internal', 'shared.internal']);
    await proxy.stop(AbortSignal.abort());
  });

  it('is offered with validated settings', async () => {
    const balances = offeredBalances((await fakeHost().install(tenant)).offered);
    const make = balances.get('tenant');
    expect(() => make?.({}, { load: () => 0, random: () => 0 })).toThrow('label: expected the name of a label');
  });
});
