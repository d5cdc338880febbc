import { createPrivateKey } from 'node:crypto';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatEndpoint } from '@meshgate/core';
import { certificateAuthority, tlsClient } from '@meshgate/testkit';
import type { CertificateAuthority, IssuedCertificate, LeafOptions, Peer, Validity } from '@meshgate/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Finding } from '../../src/live-check/finding.ts';
import { Resources, temporaryFolder } from './resources.ts';
import { describeInNetworks } from './consul.ts';
import type { DaemonProcess, LogLine } from './daemon.ts';
import { eventually } from './eventually.ts';
import { GATEWAY_PORT, wanAddress } from './federation.ts';
import { carriedOn, DB_THERE, FAR_WAN, SidecarMesh, WEB } from './sidecar-mesh.ts';
import type { Modes } from './sidecar-mesh.ts';
import { Stream } from './stream.ts';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const SET_UP_MS = 120_000;
// Writes are replicated to the other datacenter within seconds.
const REPLICATED_MS = 60_000;

const NEAR = { host: '10.1.0.11', port: GATEWAY_PORT };
const FAR = { host: wanAddress(2, 0), port: 443 };

const EVERYBODY = [NEAR.host, '10.1.0.12', '10.1.0.21', FAR.host, FAR_WAN.host];

const BILLING = { DestinationName: 'billing', Datacenter: 'dc2', LocalBindPort: 10_001 };
const STORE = { DestinationName: 'store', LocalBindPort: 10_002 };
const DB = { DestinationName: 'db', LocalBindPort: 10_003 };
const NEAREST = { DestinationType: 'prepared_query', DestinationName: 'nearest', LocalBindPort: 10_004 };

// After a CA change agents request new leafs at a random time within some twenty seconds, to spread the load.
const CHANGED_AUTHORITY_MS = 90_000;
const MANY = 10;
const authority = certificateAuthority('the next authority', { notAfter: new Date('2100-01-01T00:00:00Z') });
const PAST = { notBefore: new Date('2020-01-01T00:00:00Z'), notAfter: new Date('2020-01-02T00:00:00Z') };
const FOREIGN = '99999999-2222-3333-4444-555555555555.consul';

/** Of a sidecar in dc1 that mesh files define. */
const STRANGERS = { DestinationName: 'db', Datacenter: 'dc2', LocalBindPort: 10_200 };

/** The path of each mode to the other datacenter: the only address that is reachable, and the gateways on the path. */
const VARIANTS = {
  local: { path: 'local-gateway', to: NEAR, passed: [1, 1] },
  remote: { path: 'remote-gateway', to: FAR, passed: [0, 1] },
  none: { path: 'direct', to: FAR_WAN, passed: [0, 0] },
} as const;
type Mode = keyof typeof VARIANTS;

/** From the highest precedence to the lowest, and their names for people. */
const LOCATIONS = [
  ['the upstream definition', 'upstream'],
  ['the service instance', 'service-instance'],
  ['the service defaults (service-defaults/web)', 'service-defaults'],
  ['the proxy defaults (proxy-defaults/global)', 'proxy-defaults'],
] as const;
type ModeScope = (typeof LOCATIONS)[number][1];

describeInNetworks('sidecars in two datacenters, federated through their gateways', () => {
  const resources = new Resources();
  let mesh: SidecarMesh;

  beforeAll(async () => {
    mesh = resources.add(await SidecarMesh.create());
  }, SET_UP_MS);
  afterAll(() => resources[Symbol.asyncDispose]());

  describe.each(LOCATIONS)('a mode that is set by %s', (scopeName, scope) => {
    it.each(Object.keys(VARIANTS) as Mode[])('%s: that path is used, and there is no other', async (mode) => {
      const { path, to, passed } = VARIANTS[mode];
      const { near, far } = gateways();
      const { web, machine } = mesh;
      await mesh.configure(modesWith(scope, mode));
      await machine.reaches(to.host);
      await eventually(
        `the mode ${mode} by ${scopeName}`,
        () => upstreamFacts().then((facts) => holds(facts, { path, by: `${mode} by ${scopeName}` })),
        REPLICATED_MS,
      );
      const before = { near: await carried(near), far: await carried(far), lines: web.lines.length };
      {
        await using client = await mesh.application(DB_THERE);
        await client.send('across');
        expect((await client.receive(6)).toString()).toBe('across');
        expect([await liveOn(near), await liveOn(far)]).toEqual(passed);
      }
      const line = await web.line(carriedOn('upstream:db@dc2'), before.lines);
      expect(line).toMatchObject({ path, mode, backend: `${to.host}:${to.port}`, bytesUp: 6, bytesDown: 6 });
      expect(line['code']).toBeUndefined();
      const counters = async () => [(await carried(near)) - before.near, (await carried(far)) - before.far];
      await eventually('gateways that have counted', async () => equal(await counters(), passed), REPLICATED_MS);
      for (const other of [NEAR, FAR, FAR_WAN].filter((one) => one !== to))
        expect(await machine.inside.probe(other)).toBe('ENETUNREACH');
    });
  });

  it('in a mode that leads nowhere: meshgate doctor names the mode, and where it is set', async () => {
    const { machine } = mesh;
    await mesh.configure({ 'service-defaults': 'none' });
    await machine.reaches(NEAR.host);
    const name = mesh.federation.nameOf('db', mesh.federation.two);
    await eventually(
      'a first failure that names the mode',
      async () => {
        const args = ['doctor', name, '--admin', 'http://127.0.0.1:19000', '--json'];
        const child = machine.namespace.spawn([process.execPath, MAIN, ...args], ['ignore', 'pipe', 'inherit']);
        const logged = JSON.parse(child.stdout === null ? '' : await text(child.stdout)) as {
          readonly findings: readonly Finding[];
        };
        const failed = logged.findings.find(({ outcome }) => outcome === 'failed');
        expect(failed?.found).toMatch(
          /network unreachable \(ENETUNREACH\); its mesh gateway mode is none \(.*service-defaults\/web.*direct/,
        );
        return true;
      },
      REPLICATED_MS,
    );
  });

  describe('that may reach everything', () => {
    beforeAll(() => mesh.machine.reaches(...EVERYBODY));

    it('keep live connections when the mode changes; new ones take the new path', async () => {
      const { near } = gateways();
      await inMode('local');
      await using before = await mesh.application(DB_THERE);
      await before.send('one');
      await before.receive(3);
      await inMode('none');
      const { lines } = mesh.web;
      const from = lines.length;
      expect(await mesh.respond(DB_THERE)).toBe('db in dc2');
      expect(await mesh.web.line(carriedOn('upstream:db@dc2'), from)).toMatchObject({ path: 'direct' });
      expect(await liveOn(near)).toBe(1);
      await before.send('two');
      expect((await before.receive(3)).toString()).toBe('two');
    });

    it('are reached from the secondary datacenter as well, whose chain of certificates is longer', async () => {
      const from = mesh.web.lines.length;
      expect(await mesh.respond(WEB, mesh.federation.two.datacenter)).toBe('web');
      const line = await mesh.web.line(carriedOn('public'), from);
      expect(line['caller']).toBe(`spiffe://${mesh.federation.trustDomain}/ns/default/dc/dc2/svc/db`);
    });

    it(
      'refuse callers that an intention denies, report why on both sides, and accept those that it allows',
      async () => {
        await inMode('local');
        const { web, far } = mesh;
        const { consul } = mesh.federation.one.datacenter;
        const intention = { SourceName: 'web', DestinationName: 'db', SourceType: 'consul', Action: 'deny' };
        const { ID } = (await consul.post('connect/intentions', intention)) as { readonly ID: string };
        const responses = (who: string) => async () => ((await mesh.respond(DB_THERE)) === who ? true : undefined);
        await eventually('nobody to answer', responses('nobody'), REPLICATED_MS);
        expect(await far.daemon.line(({ code }) => code === 'DENIED')).toMatchObject({
          caller: `spiffe://${mesh.federation.trustDomain}/ns/default/dc/dc1/svc/web`,
          // Some releases print the intention before the action, others after it.
          reason: expect.stringMatching(/svc\/web may not connect to db: (?=.*DENY).*web => .*db/),
        });
        expect(await web.line(({ code }) => code === 'UPSTREAM_RESET')).toMatchObject({
          path: 'local-gateway',
          reason: expect.stringMatching(/certificate of spiffe:.*svc\/web.*or an intention denies it/),
        });
        await consul.put(`connect/intentions/${ID}`, { ...intention, Action: 'allow' });
        await eventually('db to answer', responses('db in dc2'), REPLICATED_MS);
      },
      2 * REPLICATED_MS,
    );

    it('refuse a client without a certificate, which gateways have forwarded', async () => {
      const { trustDomain, one, two } = mesh.federation;
      const from = mesh.far.daemon.lines.length;
      await using client = await tlsClient(await one.datacenter.inside.to(NEAR), mesh.federation.nameOf('db', two));
      expect(await client.closed).toMatchObject({
        kind: 'lost',
        error: { code: expect.stringContaining('CERTIFICATE_REQUIRED') },
      });
      expect(await mesh.far.daemon.line(({ code }) => code === 'DOWNSTREAM_UNTRUSTED', from)).toMatchObject({
        reason: `expected a client certificate of ${trustDomain}, found none`,
      });
    });

    it('detect a server without the identity in the catalog, and report it on both sides', async () => {
      const { web, far, federation } = mesh;
      const { consul } = federation.two.datacenter;
      await consul.put('agent/service/register', { Name: 'billing', Port: 80 });
      await consul.put('agent/service/register', {
        Name: 'billing-proxy',
        Kind: 'connect-proxy',
        Address: far.at.host,
        Port: far.at.port,
        Proxy: { DestinationServiceName: 'billing' },
      });
      await mesh.configure({ upstream: 'local' }, [DB_THERE, BILLING]);
      await web.route('upstream:billing@dc2', ({ backends }) => backends.some(({ healthy }) => healthy));
      await gateways().far.route('service:billing');
      const from = far.daemon.lines.length;
      expect(await mesh.respond(BILLING)).toBe('nobody');
      expect(await web.line(carriedOn('upstream:billing@dc2'))).toMatchObject({
        code: 'UPSTREAM_UNTRUSTED',
        reason: expect.stringMatching(
          /expected a certificate of spiffe:.*svc\/billing, found that of spiffe:.*svc\/db/,
        ),
      });
      const { trustDomain } = federation;
      expect(await far.daemon.line(({ code }) => code === 'DOWNSTREAM_RESET', from)).toMatchObject({
        reason: expect.stringContaining(`spiffe://${trustDomain}/ns/default/dc/dc2/svc/db`),
      });
    });

    it('follow a redirect to another service of the other datacenter', async () => {
      const { consul } = mesh.federation.one.datacenter;
      const Redirect = { Service: 'db', Datacenter: 'dc2' };
      await consul.put('config', { Kind: 'service-resolver', Name: 'store', Redirect });
      await mesh.configure({ 'proxy-defaults': 'local' }, [DB_THERE, STORE]);
      await mesh.web.route('upstream:store', ({ backends }) => backends.some(({ port }) => port === GATEWAY_PORT));
      expect(await mesh.respond(STORE)).toBe('db in dc2');
      expect(await mesh.web.line(carriedOn('upstream:store'))).toMatchObject({
        path: 'local-gateway',
        identity: `spiffe://${mesh.federation.trustDomain}/ns/default/dc/dc2/svc/db`,
      });
    });

    it(
      'fail over to the other datacenter when their own instances die, and back when they are healthy again',
      async () => {
        const { web, near, federation } = mesh;
        const { consul } = federation.one.datacenter;
        const Failover = { '*': { Datacenters: ['dc2'] } };
        await consul.put('config', { Kind: 'service-resolver', Name: 'db', Failover });
        await mesh.configure({ 'proxy-defaults': 'local' }, [DB_THERE, DB]);
        await web.route(
          'upstream:db',
          ({ backends }) => backends.length === 2 && backends.every(({ healthy }) => healthy),
        );
        expect(await mesh.respond(DB)).toBe('db in dc1');
        await near.daemon.kill();
        const from = web.lines.length;
        expect(await mesh.respond(DB)).toBe('db in dc2');
        expect(await web.line(carriedOn('upstream:db'), from)).toMatchObject({ attempts: 2, path: 'local-gateway' });
        await web.route('upstream:db', ({ backends }) => backends.some(({ healthy }) => !healthy));
        const later = web.lines.length;
        expect(await mesh.respond(DB)).toBe('db in dc2');
        expect(await web.line(carriedOn('upstream:db'), later)).toMatchObject({ attempts: 1, path: 'local-gateway' });
        near.daemon.restart();
        const isBack = async () => ((await mesh.respond(DB)) === 'db in dc1' ? true : undefined);
        await eventually('the local instance to answer', isBack, REPLICATED_MS);
      },
      REPLICATED_MS,
    );

    it(
      'skip a gateway that fails its own checks, and one that has just died',
      async () => {
        const { web, federation } = mesh;
        const { datacenter } = federation.one;
        const second = datacenter.lan(12, GATEWAY_PORT);
        const wan = `${wanAddress(1, 1)}:443`;
        const flags = [
          '--register',
          '--proxy-id',
          'gateway-2',
          '--address',
          formatEndpoint(second),
          '--wan-address',
          wan,
        ];
        const other = datacenter.gateway(19_002, ...flags);
        await mesh.configure({ upstream: 'local' });
        const established = (...healthy: readonly boolean[]) =>
          web.route('upstream:db@dc2', ({ backends }) =>
            [NEAR, second].every(({ host }, index) =>
              backends.some((one) => one.host === host && one.healthy === healthy[index]),
            ),
          );
        const maintenance = (enable: boolean) =>
          datacenter.consul.put(`agent/service/maintenance/gateway-1?enable=${enable}`);
        await established(true, true);
        await maintenance(true);
        await established(false, true);
        const before = await carried(gateways().near);
        for (let count = 1; count <= 4; count += 1) expect(await mesh.respond(DB_THERE)).toBe('db in dc2');
        expect(await carried(gateways().near)).toBe(before);
        await maintenance(false);
        await established(true, true);
        await other.kill();
        for (let count = 1; count <= 4; count += 1) expect(await mesh.respond(DB_THERE)).toBe('db in dc2');
      },
      REPLICATED_MS,
    );

    it(
      'reach the results of a prepared query',
      async () => {
        const { consul } = mesh.federation.one.datacenter;
        await consul.post('query', { Name: 'nearest', Service: { Service: 'db', Connect: true } });
        await mesh.configure({}, [NEAREST]);
        await mesh.web.route('query:nearest', ({ backends }) => backends.length > 0);
        expect(await mesh.respond(NEAREST)).toBe('db in dc1');
      },
      REPLICATED_MS,
    );
  });

  describe('whose authority changes', () => {
    beforeAll(async () => {
      await mesh.machine.reaches(...EVERYBODY);
      await inMode('local');
    });

    it(
      'cut no connection and refuse no client, while streams of connections run both ways',
      async () => {
        const { one, two } = mesh.federation;
        await using thereAndBack = await mesh.application(DB_THERE);
        await using hereAndBack = await mesh.application(WEB, two.datacenter);
        const streams = [
          new Stream(async () => expect(await mesh.respond(DB_THERE)).toBe('db in dc2')),
          new Stream(async () => expect(await mesh.respond(WEB, two.datacenter)).toBe('web')),
          new Stream(() => roundTrip(thereAndBack)),
          new Stream(() => roundTrip(hereAndBack)),
        ];
        for (const stream of streams) await stream.more(MANY);
        const renewed = [mesh.web, mesh.far.daemon].map((sidecar) =>
          sidecar.line(otherCertificate(sidecar.lines), sidecar.lines.length),
        );
        await one.datacenter.consul.put('connect/ca/configuration', {
          Provider: 'consul',
          Config: { PrivateKey: sec1(authority), RootCert: authority.certificate },
        });
        await Promise.all(renewed);
        for (const stream of streams) await stream.more(MANY);
        for (const stream of streams) await stream[Symbol.asyncDispose]();
        expect(streams.flatMap((stream) => stream.failuresApartFrom())).toEqual([]);
        const shown = await two.datacenter.consul.roots();
        expect(shown).toContain(authority.certificate.trim());
      },
      CHANGED_AUTHORITY_MS,
    );

    it.each([
      ['has expired', () => authority.issue(leafOf('web', PAST)), /svc\/web, valid until 2020-01-02.*expired/],
      ['is of another authority', () => certificateAuthority('strange').issue(leafOf('web')), /issued by a root of/],
    ] as const)(
      'refuse a sidecar whose certificate %s, with the reason on both sides',
      async (_claim, issue, reason) => {
        const { one } = mesh.federation;
        await using folder = temporaryFolder();
        const file = foreignSidecar(folder.path, issue(), { authority, trustDomain: mesh.federation.trustDomain });
        await using stranger = one.datacenter.sidecar(19_030, ['--sidecar-for', 'web', '--config', file]);
        await stranger.line(({ listener }) => listener === 'upstream:db@dc2');
        const from = mesh.far.daemon.lines.length;
        expect(await mesh.respond(STRANGERS, one.datacenter)).toBe('nobody');
        expect(await mesh.far.daemon.line(({ code }) => code === 'DOWNSTREAM_UNTRUSTED', from)).toMatchObject({
          reason: expect.stringMatching(reason),
        });
        expect(await stranger.line(carriedOn('upstream:db@dc2'))).toMatchObject({
          code: 'UPSTREAM_RESET',
          reason: expect.stringMatching(/refused the certificate of spiffe:.*svc\/web, valid until/),
        });
      },
    );

    it('refuse a client of a foreign trust domain, although their own authority vouches for it', async () => {
      const { one, two, trustDomain } = mesh.federation;
      const identity = authority.issue({ uris: [`spiffe://${FOREIGN}/ns/default/dc/dc1/svc/web`] });
      const from = mesh.far.daemon.lines.length;
      const name = mesh.federation.nameOf('db', two);
      await using client = await one.datacenter.client(NEAR, name, identity);
      expect((await client.closed).kind).not.toBe('destroyed');
      expect(client.bytesReceived).toBe(0);
      expect(await mesh.far.daemon.line(({ code }) => code === 'DOWNSTREAM_UNTRUSTED', from)).toMatchObject({
        reason: expect.stringContaining(`expected an identity of ${trustDomain}, found spiffe://${FOREIGN}`),
      });
    });

    /** The content of a leaf of a service of dc1. */
    function leafOf(service: string, validity: Validity = {}): LeafOptions {
      return { uris: [`spiffe://${mesh.federation.trustDomain}/ns/default/dc/dc1/svc/${service}`], ...validity };
    }
  });

  /** Every upstream of `web` is in this mode. */
  async function inMode(mode: Mode): Promise<void> {
    const { to } = VARIANTS[mode];
    await mesh.configure({ upstream: mode });
    await mesh.web.route('upstream:db@dc2', ({ backends }) => backends[0]?.host === to.host);
  }

  function gateways(): { readonly near: DaemonProcess; readonly far: DaemonProcess } {
    return { near: mesh.federation.one.gateways[0], far: mesh.federation.two.gateways[0] };
  }

  async function upstreamFacts(): Promise<unknown> {
    const name = mesh.federation.nameOf('db', mesh.federation.two);
    return ((await mesh.web.query(`/explain?serverName=${name}`)) as { readonly origin?: unknown }).origin;
  }
});

/** This place sets the mode, those of lower precedence set another, those of higher precedence set none. */
function modesWith(scope: ModeScope, mode: Mode): Modes {
  const rank = LOCATIONS.findIndex(([_name, one]) => one === scope);
  const others = (Object.keys(VARIANTS) as Mode[]).filter((one) => one !== mode);
  const below = LOCATIONS.slice(rank + 1).map(([_name, one], index) => [one, others[index % others.length]]);
  return { ...Object.fromEntries(below), [scope]: mode };
}

function holds(facts: unknown, { path, by }: { readonly path: string; readonly by: string }): true | undefined {
  const { path: found, decidedBy } = Object(facts) as Readonly<Record<string, string>>;
  if (found === path && decidedBy?.startsWith(by) === true) return true;
  throw new Error(JSON.stringify(facts));
}

function equal(found: readonly number[], expected: readonly number[]): true | undefined {
  if (found.join() === expected.join()) return true;
  throw new Error(found.join());
}

/** Number of service connections that a gateway has carried and closed; those between Consul's servers do not count. */
function carried(gateway: DaemonProcess): Promise<number> {
  return gateway.metric('meshgate_connections_closed_total', (labels) => /route="(?:service|datacenter):/.test(labels));
}

/** Those that are currently open. */
async function liveOn(gateway: DaemonProcess): Promise<number> {
  const { connections } = (await gateway.query('/connections')) as { connections: readonly { route?: string }[] };
  return connections.filter(({ route }) => /^(?:service|datacenter):/.test(route ?? '')).length;
}

async function roundTrip(client: Peer): Promise<void> {
  await client.send('still here');
  expect((await client.receive(10)).toString()).toBe('still here');
}

/** As Consul expects keys. */
function sec1({ privateKey }: CertificateAuthority): string {
  return createPrivateKey(privateKey).export({ type: 'sec1', format: 'pem' }).toString();
}

/** A line about a certificate with an expiry that `lines` does not mention. */
function otherCertificate(lines: readonly LogLine[]): (line: LogLine) => boolean {
  const isAny = ({ msg }: LogLine): boolean => /^certificate of .* installed/.test(String(msg));
  const now = lines.findLast(isAny);
  return (line) => isAny(line) && line['msg'] !== now?.['msg'];
}

/**
 * The folder of a sidecar of `web` that accepts all callers and presents this certificate; returns its configuration
 * file.
 */
function foreignSidecar(
  folder: string,
  { chain, privateKey }: IssuedCertificate,
  mesh: { readonly authority: CertificateAuthority; readonly trustDomain: string },
): string {
  const tls = { ca: 'ca.pem', cert: 'web.pem', key: 'web-key.pem' };
  const source = { use: 'file', mesh: 'mesh', datacenter: 'dc1', trustDomain: mesh.trustDomain, tls };
  const upstream = `destination_name = "db", datacenter = "dc2", local_bind_port = ${STRANGERS.LocalBindPort}`;
  const files = {
    'meshgate.yaml': JSON.stringify({ sources: [source], log: { format: 'json' } }),
    'ca.pem': mesh.authority.certificate,
    'web.pem': chain,
    'web-key.pem': privateKey,
    'mesh/dc1/gateway.hcl': `service { kind = "mesh-gateway", name = "gateway", address = "${NEAR.host}", port = ${NEAR.port} }`,
    'mesh/dc1/web.hcl': `service { name = "web", port = 1, address = "10.1.0.22", connect { sidecar_service {
      port = 20000, proxy { mesh_gateway { mode = "local" }, upstreams = [ { ${upstream} } ] } } } }`,
    'mesh/dc2/db.hcl': `service { name = "db", port = 1, address = "10.2.0.21", connect { sidecar_service { port = 20000 } } }`,
  };
  for (const datacenter of ['dc1', 'dc2']) mkdirSync(join(folder, 'mesh', datacenter), { recursive: true });
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  return join(folder, 'meshgate.yaml');
}
