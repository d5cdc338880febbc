import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { DEFAULT_LIMITS, nodeTransport, ProxyError } from '@meshgate/core';
import {
  AddressBook,
  Admission,
  balancedConnector,
  Sessions,
  Listeners,
  Outliers,
  RouteStore,
} from '@meshgate/core/parts';
import type { Endpoint } from '@meshgate/core';
import { meshListenerSource, meshProxySource, meshSource } from '@meshgate/mesh-files';
import { sniSniffer } from '@meshgate/sni';
import { certificateAuthority, rawClient, recorder, tcpBackend } from '@meshgate/testkit';
import type { Recorder } from '@meshgate/testkit';
import { describe, expect, it, onTestFinished } from 'vitest';
import { CALLER } from '../src/index.ts';
import { freePorts } from './free-ports.ts';
import { credentialsOf, leafOf, TRUST_DOMAIN, uriOf } from './mesh.ts';
import { startSidecar } from './sidecar.ts';
import type { TestSidecar } from './sidecar.ts';

const root = certificateAuthority('root');
const KEEP_ALIVE = { idleMs: 60_000 };

/** Writes mesh files atomically. */
async function write(folder: string, contents: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, text] of Object.entries(contents)) {
    const file = join(folder, path);
    const hidden = join(dirname(file), `.${basename(file)}.new`);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(hidden, text);
    await rename(hidden, file);
  }
}

/** A mesh gateway composed of core's parts, whose only source is mesh files. */
async function startGateway(folder: string, datacenter: string): Promise<Recorder> {
  const [transport, observer, limits] = [nodeTransport(), recorder(), DEFAULT_LIMITS];
  const options = { folder, datacenter, trustDomain: TRUST_DOMAIN };
  const store = new RouteStore({ observer, sources: [meshSource(options)] });
  const connector = balancedConnector({
    addresses: new AddressBook(observer),
    outliers: new Outliers(observer),
    observer,
    limits,
    keepAlive: KEEP_ALIVE,
  });
  const sessions = new Sessions({
    sniffer: sniSniffer(),
    resolver: store,
    connector,
    transport,
    limits,
    admission: new Admission(limits),
    observer,
  });
  const listeners = new Listeners({
    addresses: [],
    sources: [meshListenerSource(options)],
    transport,
    listen: { backlog: 511, keepAlive: KEEP_ALIVE },
    observer,
    accept: (connection, listener) => sessions.accept(connection, listener),
  });
  await store.start(new AbortController().signal);
  await listeners.start();
  onTestFinished(async () => {
    await listeners.stop();
    for (const { connection } of sessions.live()) sessions.cut(connection.id, new ProxyError('INTERNAL', 'over'));
    await sessions.empty();
    await store.stop();
  });
  await observer.until('listener.opened');
  return observer;
}

interface FullMesh {
  readonly folder: string;
  readonly web: TestSidecar;
  readonly db: TestSidecar;
  readonly near: Recorder;
  readonly far: Recorder;
  /** Sends a message to `db` through the sidecar of `web`; returns the echo. */
  query(): Promise<string>;
}

/** Two datacenters: `web`, its sidecar and a gateway in one; a gateway, the sidecar of `db` and `db` in the other. */
async function fullMesh(settings: Readonly<Record<string, string>>): Promise<FullMesh> {
  const folder = await mkdtemp(join(tmpdir(), 'meshgate-whole-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const [near = 0, far = 0, webPort = 0, dbPort = 0, bind = 0] = await freePorts(5);
  const application = await tcpBackend('db');
  onTestFinished(() => application[Symbol.asyncDispose]());
  const gateway = (name: string, port: number): string => `service {
    kind = "mesh-gateway", name = "${name}", port = ${port}, address = "127.0.0.1"
    tagged_addresses { wan { address = "127.0.0.1", port = ${port} } }
  }`;
  await write(folder, {
    'dc1/gateway.hcl': gateway('near', near),
    'dc2/gateway.hcl': gateway('far', far),
    'dc2/db.hcl': `service {
      name = "db", port = ${application.address.port}, address = "127.0.0.1"
      connect { sidecar_service { port = ${dbPort} } }
    }`,
    'dc1/web.hcl': `service {
      name = "web", port = 1, address = "127.0.0.1"
      connect { sidecar_service { port = ${webPort} proxy {
        upstreams = [ { destination_name = "db", datacenter = "dc2", local_bind_port = ${bind} } ]
      } } }
    }`,
    ...settings,
  });
  const gateways = [await startGateway(folder, 'dc1'), await startGateway(folder, 'dc2')] as const;
  const db = await sidecar(folder, 'dc2', 'db');
  const web = await sidecar(folder, 'dc1', 'web');
  await db.address();
  const at: Endpoint = await web.address('upstream:db@dc2');
  return { folder, web, db, near: gateways[0], far: gateways[1], query: () => echo(at) };
}

async function sidecar(folder: string, datacenter: string, service: string): Promise<TestSidecar> {
  const options = { folder, datacenter, trustDomain: TRUST_DOMAIN, proxy: { sidecarFor: service } };
  const leaf = leafOf(root, service, { uris: [uriOf(service, datacenter)] });
  const started = await startSidecar({ credentials: credentialsOf(leaf, root), view: meshProxySource(options) });
  onTestFinished(() => started[Symbol.asyncDispose]());
  return started;
}

async function echo(at: Endpoint): Promise<string> {
  await using client = await rawClient(at);
  await client.send('hello');
  const response = await client.receive('hello'.length).catch((reason: unknown) => reason as Error);
  client.end();
  return response instanceof Error ? 'nothing' : response.toString();
}

/** Number of connections that each gateway has accepted. */
function passed({ near, far }: FullMesh): readonly number[] {
  return [near, far].map((events) => events.all('connection.accepted').length);
}

describe('application, sidecar, gateways, sidecar, application: with mesh files and nothing else', () => {
  it.each<readonly [mode: string, path: string, passed: readonly number[]]>([
    ['local', 'local-gateway', [1, 1]],
    ['remote', 'remote-gateway', [0, 1]],
    ['none', 'direct', [0, 0]],
  ])("in mode %s by its path, and both ends know each other's identity", async (mode, path, expected) => {
    const mesh = await fullMesh({
      'dc1/proxy-defaults.hcl': `Kind = "proxy-defaults"\nName = "global"\nMeshGateway { Mode = "${mode}" }`,
    });
    expect(await mesh.query()).toBe('hello');
    const { closed } = await mesh.web.events.until('connection.closed');
    expect(closed.error).toBeUndefined();
    expect(closed.upstream?.route.origin).toMatchObject({
      path,
      mode,
      decidedBy: expect.stringMatching(`^${mode} by the proxy defaults`),
      identity: uriOf('db', 'dc2'),
    });
    const accepted = await mesh.db.events.until('connection.closed');
    expect(CALLER.of(accepted.closed.connection)).toMatchObject({ uri: uriOf('web', 'dc1') });
    expect(passed(mesh)).toEqual(expected);
    for (const gateway of [mesh.near, mesh.far].filter((_one, index) => expected[index] === 1)) {
      const { closed: blind } = await gateway.until('connection.closed');
      expect(blind.hello?.serverName).toBe(`db.default.dc2.internal.${TRUST_DOMAIN}`);
    }
  });

  it('a mode change at run time affects the next connection', async () => {
    const mesh = await fullMesh({});
    expect(await mesh.query()).toBe('hello');
    expect(passed(mesh)).toEqual([0, 0]);
    const changed = mesh.web.events.until('routes.replaced', ({ snapshot }) =>
      snapshot.routes.some(({ origin }) => origin?.['path'] === 'local-gateway'),
    );
    await write(mesh.folder, {
      'dc1/web-defaults.hcl': 'Kind = "service-defaults"\nName = "web"\nMeshGateway { Mode = "local" }',
    });
    await changed;
    expect(await mesh.query()).toBe('hello');
    expect(passed(mesh)).toEqual([1, 1]);
  });

  it('an intention denies, and then allows', async () => {
    const intention = (action: string): string =>
      `Kind = "service-intentions"\nName = "db"\nSources = [ { Name = "web", Action = "${action}" } ]`;
    const mesh = await fullMesh({ 'dc2/intentions.hcl': intention('deny') });
    expect(await mesh.query()).toBe('nothing');
    expect((await mesh.db.failure('public')).code).toBe('DENIED');
    const changed = mesh.db.events.untilCount('routes.replaced', 2);
    await write(mesh.folder, { 'dc2/intentions.hcl': intention('allow') });
    await changed;
    expect(await mesh.query()).toBe('hello');
  });
});
