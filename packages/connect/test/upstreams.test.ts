import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import {
  certificateAuthority,
  rawClient,
  refusingAddress,
  silentAddress,
  tcpBackend,
  tlsBackend,
} from '@meshgate/testkit';
import type { Endpoint } from '@meshgate/core';
import { describe, expect, it, onTestFinished } from 'vitest';
import { credentialsOf, leafOf, targetOf, TRUST_DOMAIN, upstreamOf, uriOf, viewOf } from './mesh.ts';
import type { TargetOptions } from './mesh.ts';
import { startSidecar, Observed } from './sidecar.ts';

// A fatal TLS 1.2 alert (RFC 5246, section 7.2), of a type that RFC 6066 adds.
const UNRECOGNIZED_NAME = Uint8Array.of(21, 3, 3, 0, 2, 2, 112);

const root = certificateAuthority('root');
const web = credentialsOf(leafOf(root, 'web'), root);

/** A stand-in for an instance of `service`: answers a GET with `name`. */
function server(name: string, service: string, datacenter = 'dc1') {
  return tlsBackend(name, {
    identity: leafOf(root, service, { uris: [uriOf(service, datacenter)] }),
    clientCa: root.certificate,
  });
}

async function responseAt(at: Endpoint): Promise<string> {
  await using client = await rawClient(at);
  await client.send('GET / HTTP/1.1\r\nhost: db\r\n\r\n');
  return (await client.receiveAll()).toString().split('\r\n\r\n')[1] ?? '';
}

async function webWith(...targets: readonly [TargetOptions, ...TargetOptions[]]) {
  const [first, ...rest] = targets;
  const upstreams = [upstreamOf('db', [targetOf(first), ...rest.map(targetOf)])];
  return startSidecar({ credentials: web, view: viewOf({ service: 'web', upstreams }) });
}

describe('an upstream is dialled', () => {
  it('at the first target with a healthy backend, each with its own name and identity', async () => {
    await using near = await server('near', 'db');
    await using far = await server('far', 'db', 'dc2');
    await using one = await webWith(
      { service: 'db', at: [{ ...near.address, healthy: false }] },
      { service: 'db', datacenter: 'dc2', path: 'remote-gateway', at: [far.address] },
    );
    expect(await responseAt(await one.address('upstream:db'))).toBe('far');
    expect(far.serverNames[0]).toMatch(/^db\.default\.dc2\.internal\./);
    const { closed } = await one.events.until('connection.closed');
    expect(closed.upstream?.route.origin).toMatchObject({ path: 'remote-gateway', identity: uriOf('db', 'dc2') });
  });

  it('at the next gateway when a dial fails, and at the next target when all have failed', async () => {
    await using refusing = await refusingAddress();
    await using resetting = await tcpBackend('gateway', { conduct: { kind: 'reset', afterBytes: 1 } });
    await using far = await server('far', 'db', 'dc2');
    await using one = await webWith(
      { service: 'db', at: [refusing.address, resetting.address] },
      { service: 'db', datacenter: 'dc2', at: [far.address] },
    );
    expect(await responseAt(await one.address('upstream:db'))).toBe('far');
    const { closed } = await one.events.until('connection.closed');
    expect(closed).toMatchObject({ attempts: 3, dialled: far.address });
    expect(one.events.all('dial.failed').map(({ error }) => error.code)).toEqual(
      expect.arrayContaining(['CONNECT_REFUSED', 'CONNECT_FAILED']),
    );
  });

  it('at the next address when a server has the wrong identity', async () => {
    await using impostor = await server('impostor', 'mail');
    await using right = await server('right', 'db');
    await using one = await webWith({ service: 'db', at: [impostor.address, right.address] });
    const at = await one.address('upstream:db');
    expect(await responseAt(at)).toBe('right');
    expect(await responseAt(at)).toBe('right');
    expect(one.events.all('dial.failed').map(({ error }) => error.code)).toContain('UPSTREAM_UNTRUSTED');
  });

  it.each([
    ['db@v2', 'db@v2'],
    ['db@v2', 'db%40v2'],
    ['db v2', 'db%20v2'],
    ['dbé', 'db%C3%A9'],
  ])('at a server with the identity of service %s, written as %s', async (service, written) => {
    const uri = uriOf('NAME').replace('NAME', written);
    const identity = leafOf(root, 'db', { uris: [uri] });
    await using right = await tlsBackend('right', { identity, clientCa: root.certificate });
    await using one = await webWith({ service: 'db', identities: [uriOf(service)], at: [right.address] });
    expect(await responseAt(await one.address('upstream:db'))).toBe('right');
  });

  it('at the gateway of a peer that terminates TLS for its services, if its identity is expected', async () => {
    const gateway = `spiffe://${TRUST_DOMAIN}/gateway/mesh/dc/dc2`;
    const identity = leafOf(root, 'db', { uris: [gateway] });
    await using right = await tlsBackend('right', { identity, clientCa: root.certificate });
    await using one = await webWith({ service: 'db', identities: [uriOf('db'), gateway], at: [right.address] });
    expect(await responseAt(await one.address('upstream:db'))).toBe('right');
  });

  it('within its connect timeout, including the handshake', async () => {
    await using silent = await silentAddress();
    await using hanging = await tcpBackend('gateway', { conduct: { kind: 'hang' } });
    await using one = await webWith(
      { service: 'db', at: [silent.address], connectTimeoutMs: 600 },
      { service: 'db', datacenter: 'dc2', at: [hanging.address], connectTimeoutMs: 600 },
    );
    await using client = await rawClient(await one.address('upstream:db'));
    await client.closed;
    const failure = await one.failure('upstream:db');
    expect(failure.code).toBe('CONNECT_TIMEOUT');
    expect(failure.message).toMatch(/TLS handshake with .* for db\.default\.dc2.*no response.*before that .*dial/);
  });

  it('within one deadline, however many targets there are, with time for each', async () => {
    await using silent = await silentAddress();
    await using far = await server('far', 'db', 'dc3');
    const hangs = { service: 'db', at: [silent.address], connectTimeoutMs: 1_600 };
    await using one = await webWith(
      hangs,
      { ...hangs, datacenter: 'dc2' },
      { service: 'db', datacenter: 'dc3', at: [far.address], connectTimeoutMs: 1_600 },
    );
    expect(await responseAt(await one.address('upstream:db'))).toBe('far');
    const waits = one.events
      .all('dial.failed')
      .map(({ error }) => Number(/within ([\d.]+) ms/.exec(error.message)?.[1]));
    const [first = Infinity, second = Infinity] = waits;
    expect(first).toBeLessThanOrEqual(800);
    expect(second).toBeLessThanOrEqual((1_600 - first) / 2 + 1);
  });

  it('never without a required gateway: that has its own code', async () => {
    await using one = await webWith({
      service: 'db',
      datacenter: 'dc2',
      path: 'remote-gateway',
      unreachableReason: 'no mesh gateway of datacenter dc2 is known',
    });
    await using client = await rawClient(await one.address('upstream:db'));
    await client.closed;
    expect(await one.failure('upstream:db')).toMatchObject({ code: 'NO_GATEWAY' });
    expect(one.routes.table.indexes[0]?.routes.get('upstream:db')).toMatchObject({ withoutBackend: 'NO_GATEWAY' });
  });

  it('never after the application has disconnected', async () => {
    await using hanging = await tcpBackend('gateway', { conduct: { kind: 'hang' } });
    await using one = await webWith({ service: 'db', at: [hanging.address] });
    await using client = await rawClient(await one.address('upstream:db'));
    await hanging.untilAccepted(1);
    client.reset();
    expect(await one.endings('upstream:db')).toEqual(['DOWNSTREAM_RESET']);
    await hanging.untilIdle();
  });

  it('never without an address: the reason is reported, with the results of other targets', async () => {
    await using refusing = await refusingAddress();
    await using one = await webWith(
      { service: 'db', at: [refusing.address] },
      { service: 'db', datacenter: 'dc2', unreachableReason: 'db has no instance in datacenter dc2' },
    );
    await using client = await rawClient(await one.address('upstream:db'));
    await client.closed;
    expect(await one.failure('upstream:db')).toMatchObject({
      code: 'NO_BACKEND',
      message: expect.stringMatching(/^upstream:db: db has no instance in datacenter dc2; before that .*refused/i),
    });
  });

  it('in vain behind a gateway without a route for its name, which is reported', async () => {
    const gateway = createServer((socket) => {
      // The sidecar resets the connections that it gives up on.
      socket.on('error', () => undefined).end(UNRECOGNIZED_NAME);
    }).listen(0, '127.0.0.1');
    await once(gateway, 'listening');
    onTestFinished(() => void gateway.close());
    const { port } = gateway.address() as AddressInfo;
    await using one = await webWith({ service: 'db', at: [{ host: '127.0.0.1', port }], path: 'remote-gateway' });
    await using client = await rawClient(await one.address('upstream:db'));
    await client.closed;
    expect(await one.failure('upstream:db')).toMatchObject({
      code: 'CONNECT_FAILED',
      message: expect.stringContaining('the name is unknown there (tlsv1 unrecognized name)'),
    });
  });

  it('never without a dialable target: the reason is reported', async () => {
    const refused = {
      kind: 'refused',
      definition: { name: 'db', kind: 'service', bind: { host: '127.0.0.1', port: 0 } },
      reason: 'service-resolver.db.Redirect: a circle',
    } as const;
    const view = viewOf({ service: 'web', upstreams: [refused] });
    await using one = await startSidecar({ credentials: web, view });
    await using client = await rawClient(await one.address('upstream:db'));
    await client.closed;
    expect(await one.failure('upstream:db')).toMatchObject({
      code: 'NO_BACKEND',
      message: expect.stringContaining('a circle'),
    });
    expect(one.routes.sources[0]?.warnings).toEqual(['upstream db: service-resolver.db.Redirect: a circle']);
  });
});

it('an upstream with a limit refuses further connections', async () => {
  await using far = await server('far', 'db');
  const db = { ...upstreamOf('db', [targetOf({ service: 'db', at: [far.address] })]), maxConnections: 1 } as const;
  await using one = await startSidecar({ credentials: web, view: viewOf({ service: 'web', upstreams: [db] }) });
  const at = await one.address('upstream:db');
  await using first = await rawClient(at);
  await one.events.until('connection.routed', () => true);
  await first.send('GET / HTTP/1.1\r\nhost: db\r\n');
  await far.untilAccepted(1);
  await using second = await rawClient(at);
  await second.closed;
  expect(await one.failure('upstream:db')).toMatchObject({ code: 'LIMIT_REACHED' });
});

describe('an upstream with its own passive health check', () => {
  it('ejects an address after its own number of failures, and the other upstreams after theirs', async () => {
    await using refusing = await refusingAddress();
    await using far = await server('far', 'db');
    const target = targetOf({ service: 'db', at: [refusing.address, far.address] });
    const strict = { ...upstreamOf('db', [target]), passiveHealthCheck: { maxFailures: 1, baseEjectionMs: 120_000 } };
    const upstreams = [strict, upstreamOf('db2', [target])];
    await using one = await startSidecar({ credentials: web, view: viewOf({ service: 'web', upstreams }) });
    const [at, other] = [await one.address('upstream:db'), await one.address('upstream:db2')];
    const refused = (): number => one.events.all('dial.failed').length;
    while (refused() === 0) expect(await responseAt(at)).toBe('far');
    const ejected = await one.events.until('backend.ejected');
    expect(ejected).toMatchObject({ address: refusing.address, failures: 1, forMs: 120_000 });
    for (let turn = 0; turn < 6; turn += 1) expect(await responseAt(at)).toBe('far');
    expect(refused()).toBe(1);
    // The other upstream has no such rule: a failure there does not stop its retries.
    while (refused() < 3) expect(await responseAt(other)).toBe('far');
    expect(one.events.all('backend.ejected')).toHaveLength(1);
  });

  it('shows it in its route', async () => {
    const check = { maxFailures: 2, enforcingPercent: 50, maxEjectionPercent: 30 };
    const db = { ...upstreamOf('db', [targetOf({ service: 'db' })]), passiveHealthCheck: check };
    await using one = await startSidecar({ credentials: web, view: viewOf({ service: 'web', upstreams: [db] }) });
    await one.address('upstream:db');
    const { snapshot } = await one.events.until('routes.replaced');
    const [, route] = snapshot.routes;
    expect(route?.origin?.['ejection']).toBe(
      'after 2 failed dials in a row, for 30 s, in 50 % of the cases, at most 30 % of the addresses but always one',
    );
  });
});

describe('while a sidecar runs', () => {
  it('upstreams come and go, and established connections stay', async () => {
    await using far = await server('far', 'db');
    const db = upstreamOf('db', [targetOf({ service: 'db', at: [far.address] })]);
    const view = new Observed('proxy', viewOf({ service: 'web', upstreams: [db] }));
    await using one = await startSidecar({ credentials: web, view });
    await using client = await rawClient(await one.address('upstream:db'));
    await client.send('one');
    await client.receive(3);
    const mail = upstreamOf('mail', [targetOf({ service: 'db', at: [far.address] })]);
    view.notify(viewOf({ service: 'web', upstreams: [mail] }));
    expect(await responseAt(await one.address('upstream:mail'))).toBe('far');
    await one.events.until('listener.closed', ({ listener }) => listener === 'upstream:db');
    await client.send('two');
    expect((await client.receive(3)).toString()).toBe('two');
  });

  it("an address with another identity is not ejected: a gateway's address is shared by many", async () => {
    await using mail = await server('mail', 'mail');
    await using one = await webWith({ service: 'db', at: [mail.address] });
    const address = await one.address('upstream:db');
    for (let count = 0; count < 6; count += 1) {
      await using client = await rawClient(address);
      await client.closed;
    }
    expect(new Set(await one.endings('upstream:db', 6))).toEqual(new Set(['UPSTREAM_UNTRUSTED']));
    expect(one.events.all('backend.ejected')).toEqual([]);
  });

  it('two upstreams of one name have different names', async () => {
    await using far = await server('far', 'db');
    const target = targetOf({ service: 'db', at: [far.address] });
    const upstreams = [upstreamOf('db', [target]), upstreamOf('db', [target], { host: '127.0.0.2', port: 0 })];
    await using one = await startSidecar({ credentials: web, view: viewOf({ service: 'web', upstreams }) });
    expect(await responseAt(await one.address('upstream:db 127.0.0.1:0'))).toBe('far');
    expect(await responseAt(await one.address('upstream:db 127.0.0.2:0'))).toBe('far');
  });

  it('nothing is accepted before there are credentials', async () => {
    const credentials = { name: 'ca', watch: () => new Observed('ca', web).watch(gate.signal) };
    const gate = new AbortController();
    gate.abort();
    await using one = await startSidecar({ credentials, view: viewOf({ service: 'web' }) });
    await one.events.until('source.failed');
    expect(one.events.all('listener.opened')).toEqual([]);
  });
});
