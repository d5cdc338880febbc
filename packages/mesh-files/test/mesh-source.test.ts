import { mkdir, rename, rm, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ListenAddress, RouteSnapshot } from '@meshgate/core';
import type { ProxyView } from '@meshgate/mesh';
import { describeListenerSource, describeRouteSource } from '@meshgate/testkit';
import { describe, expect, it, onTestFinished } from 'vitest';
import { meshListenerSource, meshProxySource, meshSource } from '../src/index.ts';
import { meshFolder, PRIMARY, TRUST_DOMAIN, writeMesh } from './mesh-folder.ts';

const GATEWAY = 'service { kind = "mesh-gateway", name = "gateway", address = "10.0.0.5", port = 8443 }';
const DB = sidecarOf('db');
const NOTHING_REMOVED =
  'until the problems above are fixed, files with problems keep their last good version, and nothing is removed';
const WEB = `service { name = "web", port = 1, connect { sidecar_service { proxy {
  upstreams { destination_name = "api", datacenter = "secondary", local_bind_port = 9 }
} } } }`;

describeRouteSource('a folder of mesh files', {
  create: async () => {
    const folder = await meshFolder({ 'primary/db.hcl': DB });
    let changes = 0;
    return {
      source: meshSource({ ...PRIMARY, folder, name: 'mesh', pollMs: 0 }),
      change: () => writeMesh(folder, { 'primary/more.hcl': sidecarOf(`more-${(changes += 1)}`) }),
      dispose: () => Promise.resolve(),
    };
  },
});

describeListenerSource('a folder of mesh files', {
  create: async () => {
    const folder = await meshFolder({ 'primary/gateway.hcl': GATEWAY });
    let port = 8_443;
    return {
      source: meshListenerSource({ ...PRIMARY, folder, name: 'mesh', pollMs: 0 }),
      change: () => writeMesh(folder, { 'primary/gateway.hcl': GATEWAY.replace('8443', String((port += 1))) }),
      dispose: () => Promise.resolve(),
    };
  },
});

describe('the routes of a folder of mesh files', () => {
  it('follow added and removed services, in the own datacenter, and gateways in others', async () => {
    const folder = await meshFolder({ 'primary/db.hcl': DB });
    const seen = follow<RouteSnapshot>(meshSource({ ...PRIMARY, folder, pollMs: 0 }));
    expect(names(await seen())).toEqual(['service:db']);
    await writeMesh(folder, { 'primary/api.hcl': sidecarOf('api') });
    expect(names(await seen())).toEqual(['service:api', 'service:db']);
    await unlink(join(folder, 'primary/db.hcl'));
    expect(names(await seen())).toEqual(['service:api']);
    await mkdir(join(folder, '.new'));
    await writeFile(join(folder, '.new/gateway.hcl'), GATEWAY);
    await rename(join(folder, '.new'), join(folder, 'secondary'));
    expect(names(await seen())).toEqual(['service:api', 'datacenter:secondary']);
    await writeMesh(folder, { 'secondary/gateway.hcl': GATEWAY.replace('10.0.0.5', '10.0.0.6') });
    expect((await seen()).routes[1]?.backends[0]?.address.host).toBe('10.0.0.6');
    await rm(join(folder, 'secondary'), { recursive: true });
    expect(names(await seen())).toEqual(['service:api']);
  });

  it('are not yielded again for changes that do not concern a gateway', async () => {
    const folder = await meshFolder({ 'primary/db.hcl': DB });
    const seen = follow<RouteSnapshot>(meshSource({ ...PRIMARY, folder, pollMs: 0 }));
    const first = await seen();
    await writeMesh(folder, {
      'primary/defaults.hcl': 'Kind = "proxy-defaults"\nName = "global"\nMeshGateway { Mode = "local" }',
    });
    await writeMesh(folder, { 'primary/api.hcl': sidecarOf('api') });
    const second = await seen();
    expect([names(first), names(second)]).toEqual([['service:db'], ['service:api', 'service:db']]);
  });

  it('stay as they were while a file is invalid, with its position as a warning', async () => {
    const folder = await meshFolder({ 'primary/db.hcl': DB });
    const seen = follow<RouteSnapshot>(meshSource({ ...PRIMARY, folder, pollMs: 0 }));
    const good = await seen();
    await writeMesh(folder, { 'secondary/broken.hcl': 'service {' });
    const broken = await seen();
    expect(broken.routes).toEqual(good.routes);
    expect(broken.asOf).toBeInstanceOf(Date);
    expect(broken.warnings).toEqual([
      `${folder}/secondary/broken.hcl:1:10: invalid HCL: expected a name, found the end of the file`,
      NOTHING_REMOVED,
    ]);
    await unlink(join(folder, 'secondary/broken.hcl'));
    expect(await seen()).toEqual(good);
  });

  it('warn about what cannot become a route, and about a missing gateway', async () => {
    const folder = await meshFolder({ 'primary/a.hcl': 'services = [ { name = "db", connect { native = true } } ]' });
    const seen = follow<RouteSnapshot>(meshSource({ ...PRIMARY, folder, gateway: 'gw-1', pollMs: 0 }));
    expect((await seen()).warnings).toEqual([
      'expected a mesh-gateway with the id gw-1 in datacenter primary; gateways found: none',
      'service/db: instance db on node a.hcl has no address and port that can be dialled, found "127.0.0.1:0"',
    ]);
  });

  it('have the timeout of the own gateway’s definition', async () => {
    const definition = GATEWAY.replace('port =', 'proxy { config { connect_timeout_ms = 1234 } }, port =');
    const folder = await meshFolder({ 'primary/a.hcl': `${DB}\n`, 'primary/gateway.hcl': definition });
    const seen = follow<RouteSnapshot>(meshSource({ ...PRIMARY, folder, pollMs: 0 }));
    expect((await seen()).routes).toMatchObject([{ connectTimeoutMs: 1_234 }]);
  });
});

describe('the listeners of a folder of mesh files', () => {
  const listeners = async (definitions: string, gateway?: string): Promise<readonly ListenAddress[]> => {
    const folder = await meshFolder({ 'primary/a.hcl': definitions });
    const options = gateway === undefined ? {} : { gateway };
    return follow<readonly ListenAddress[]>(meshListenerSource({ ...PRIMARY, folder, ...options, pollMs: 0 }))();
  };
  const TWO = `${GATEWAY}\n${GATEWAY.replace('name =', 'id = "gw-2", name =').replace('8443', '8444')}`;

  it.each([
    ['none without a definition', DB, undefined, []],
    ['at the address of the one definition', GATEWAY, undefined, ['default 10.0.0.5:8443']],
    [
      'on this machine only when it has none',
      GATEWAY.replace('address = "10.0.0.5", ', ''),
      undefined,
      ['default 127.0.0.1:8443'],
    ],
    ['of the one that is chosen', TWO, 'gw-2', ['default 10.0.0.5:8444']],
  ])('are %s', async (_claim, definitions, gateway, expected) => {
    const found = await listeners(definitions, gateway);
    expect(found.map(({ name, endpoint: { host, port } }) => `${name} ${host}:${port}`)).toEqual(expected);
  });
});

describe('a mistake in one file does not affect the others', () => {
  it('additions take effect at once, even if the file with the mistake is new', async () => {
    const folder = await meshFolder({ 'primary/db.hcl': DB });
    const seen = follow<RouteSnapshot>(meshSource({ ...PRIMARY, folder, pollMs: 0 }));
    await seen();
    await writeMesh(folder, { 'primary/broken.hcl': 'service {' });
    expect((await seen()).warnings).toEqual([
      `${folder}/primary/broken.hcl:1:10: invalid HCL: expected a name, found the end of the file`,
      NOTHING_REMOVED,
    ]);
    await writeMesh(folder, { 'primary/api.hcl': sidecarOf('api') });
    const added = await seen();
    expect([names(added), added.warnings?.length]).toEqual([['service:api', 'service:db'], 2]);
  });

  it('the last valid contents of an invalid file stay in use, and are replaced when it is valid again', async () => {
    const folder = await meshFolder({ 'primary/db.hcl': DB, 'primary/api.hcl': sidecarOf('api') });
    const seen = follow<RouteSnapshot>(meshSource({ ...PRIMARY, folder, pollMs: 0 }));
    const port = ({ routes }: RouteSnapshot): readonly unknown[] =>
      routes.map(({ backends: [one] }) => one?.address.port);
    expect(port(await seen())).toEqual([2, 2]);
    await writeMesh(folder, { 'primary/db.hcl': DB.replace('port = 2', 'prot = 3') });
    await seen();
    await writeMesh(folder, { 'primary/api.hcl': sidecarOf('api').replace('port = 2', 'port = 4') });
    expect(port(await seen())).toEqual([4, 2]);
    await writeMesh(folder, { 'primary/db.hcl': DB.replace('port = 2', 'port = 3') });
    const fixed = await seen();
    expect([port(fixed), fixed.warnings, fixed.asOf]).toEqual([[4, 3], undefined, undefined]);
  });

  it('a service that leaves its file stays as long as another file cannot be read: it may have moved there', async () => {
    const folder = await meshFolder({ 'primary/db.hcl': DB, 'primary/rest.hcl': '' });
    const seen = follow<RouteSnapshot>(meshSource({ ...PRIMARY, folder, pollMs: 0 }));
    await seen();
    await writeMesh(folder, { 'primary/rest.hcl': 'service {' });
    await seen();
    await unlink(join(folder, 'primary/db.hcl'));
    const kept = await seen();
    expect([names(kept), kept.warnings?.at(-1)]).toEqual([
      ['service:db'],
      `${NOTHING_REMOVED}: no longer defined, kept in use: service db (${folder}/primary/db.hcl:1:9), service db-sidecar-proxy (${folder}/primary/db.hcl:1:60)`,
    ]);
    await writeMesh(folder, { 'primary/rest.hcl': '' });
    expect(names(await seen())).toEqual([]);
  });

  it('of two definitions of one service the one in use stays, whichever file comes first', async () => {
    const folder = await meshFolder({ 'primary/db.hcl': DB });
    const seen = follow<RouteSnapshot>(meshSource({ ...PRIMARY, folder, pollMs: 0 }));
    await seen();
    await writeMesh(folder, { 'primary/a.hcl': DB.replace('port = 2', 'port = 3') });
    const both = await seen();
    expect([both.routes[0]?.backends[0]?.address.port, both.warnings?.[0]]).toEqual([
      2,
      `${folder}/primary/a.hcl:1:9: service: service id "db" is already used at ${folder}/primary/db.hcl:1:9: give one of them another id`,
    ]);
  });

  it('a resolver with a dangling reference stays as it was', async () => {
    const resolver = (text: string): string => `Kind = "service-resolver"\nName = "db"\nSubsets { v1 {} }\n${text}`;
    const folder = await meshFolder({ 'primary/db.hcl': DB, 'primary/r.hcl': resolver('DefaultSubset = "v1"') });
    const seen = follow<RouteSnapshot>(meshSource({ ...PRIMARY, folder, pollMs: 0 }));
    const good = await seen();
    await writeMesh(folder, { 'primary/r.hcl': resolver('Failover "*" { ServiceSubset = "v2" }') });
    const wrong = await seen();
    expect([wrong.routes, wrong.warnings?.[0]]).toEqual([
      good.routes,
      `${folder}/primary/r.hcl:1:1: service-resolver/db: Failover.*.ServiceSubset: expected a subset of db (v1), found "v2"`,
    ]);
  });
});

describe('a second gateway beside the own one', () => {
  const OTHER = GATEWAY.replace('name =', 'id = "a-gateway", name =').replace('8443', '8444');
  const ports = (listeners: readonly ListenAddress[]): readonly number[] =>
    listeners.map(({ endpoint }) => endpoint.port);

  it('never takes over the listener of the first, and causes a warning', async () => {
    const folder = await meshFolder({ 'primary/gateway.hcl': GATEWAY });
    const listeners = follow<readonly ListenAddress[]>(meshListenerSource({ ...PRIMARY, folder, pollMs: 0 }));
    const routes = follow<RouteSnapshot>(meshSource({ ...PRIMARY, folder, pollMs: 0 }));
    expect(ports(await listeners())).toEqual([8_443]);
    await routes();
    await writeMesh(folder, { 'primary/a.hcl': OTHER });
    expect((await routes()).warnings).toEqual([
      'expected one mesh-gateway in datacenter primary, found a-gateway, gateway: select one with the setting "gateway"; this gateway is still gateway',
    ]);
    await writeMesh(folder, { 'primary/gateway.hcl': GATEWAY.replace('8443', '8445') });
    expect(ports(await listeners())).toEqual([8_445]);
  });

  it('is a mistake at the start, unless one is selected', async () => {
    const folder = await meshFolder({ 'primary/gateway.hcl': GATEWAY, 'primary/a.hcl': OTHER });
    const message = `${folder}:1:1: expected one mesh-gateway in datacenter primary, found a-gateway, gateway: select one with the setting "gateway"`;
    for (const source of [meshListenerSource({ ...PRIMARY, folder }), meshSource({ ...PRIMARY, folder })])
      await expect(follow<unknown>(source)()).rejects.toMatchObject({ name: 'ConfigProblems', message });
  });
});

describe('the view of a proxy', () => {
  it('follows the mode of its upstreams, from any place', async () => {
    const folder = await meshFolder({
      'primary/web.hcl': WEB,
      'primary/gateway.hcl': GATEWAY,
      'secondary/api.hcl': sidecarOf('api'),
    });
    const seen = follow<ProxyView>(meshProxySource({ ...PRIMARY, folder, proxy: { sidecarFor: 'web' }, pollMs: 0 }));
    expect(paths(await seen())).toEqual(['direct']);
    const defaults = (mode: string): string =>
      `Kind = "proxy-defaults"\nName = "global"\nMeshGateway { Mode = "${mode}" }`;
    await writeMesh(folder, { 'primary/defaults.hcl': defaults('local') });
    expect(paths(await seen())).toEqual(['local-gateway']);
    await writeMesh(folder, { 'primary/defaults.hcl': defaults('remote') });
    expect(paths(await seen())).toEqual(['remote-gateway']);
    await writeMesh(folder, { 'primary/defaults.hcl': defaults('Remote') });
    const wrong = await seen();
    expect([paths(wrong), wrong.warnings?.[0]]).toEqual([
      ['remote-gateway'],
      `${folder}/primary/defaults.hcl:3:22: MeshGateway.Mode: expected none, local or remote, found "Remote": write remote, in lower case`,
    ]);
  });

  it('stays, with a warning, when its definition is removed', async () => {
    const folder = await meshFolder({ 'primary/web.hcl': WEB });
    const seen = follow<ProxyView>(
      meshProxySource({ ...PRIMARY, folder, proxy: { proxyId: 'web-sidecar-proxy' }, pollMs: 0 }),
    );
    const { upstreams } = await seen();
    await writeMesh(folder, { 'primary/web.hcl': DB });
    const gone = await seen();
    expect(gone.upstreams).toEqual(upstreams);
    expect(gone.warnings?.[0]).toBe(
      `${folder}:1:1: expected a proxy with the id web-sidecar-proxy in datacenter primary, found db-sidecar-proxy: did you mean "db-sidecar-proxy"?`,
    );
  });

  it.each([
    [
      { proxyId: 'db-sidecar-prxy' },
      'expected a proxy with the id db-sidecar-prxy in datacenter primary, found a-proxy, db-sidecar-proxy, z-proxy: did you mean "db-sidecar-proxy"?',
    ],
    [
      { proxyId: 'db' },
      'expected a proxy with the id db in datacenter primary, found a-proxy, db-sidecar-proxy, z-proxy: "db" is the id of a service that has a proxy',
    ],
    [
      { sidecarFor: 'shop' },
      'expected one proxy for shop in datacenter primary, found a-proxy, z-proxy: select it by its own id',
    ],
    [{ sidecarFor: 'elsewhere' }, 'expected a proxy for elsewhere in datacenter primary, found proxies for db, shop'],
    [
      { sidecarFor: 'a-proxy' },
      'expected a proxy for a-proxy in datacenter primary, found proxies for db, shop: "a-proxy" is the id of the proxy itself',
    ],
  ])('is unknown at the start: %j', async (proxy, message) => {
    const shop = ['a', 'z'].map(
      (id) => `service { name = "${id}-proxy", port = 2, proxy { destination_service_name = "shop" } }`,
    );
    const folder = await meshFolder({ 'primary/a.hcl': [DB, ...shop].join('\n') });
    const seen = follow<ProxyView>(meshProxySource({ ...PRIMARY, folder, proxy, pollMs: 0 }));
    await expect(seen()).rejects.toMatchObject({ name: 'ConfigProblems', message: `${folder}:1:1: ${message}` });
  });
});

it('a folder must be absolute', () => {
  const options = { ...PRIMARY, folder: 'mesh' };
  const message = 'expected an absolute path, found "mesh"';
  expect(() => meshSource(options)).toThrow(message);
  expect(() => meshListenerSource(options)).toThrow(message);
  expect(() => meshProxySource({ ...options, proxy: { proxyId: 'p' } })).toThrow(message);
  expect(meshSource({ ...PRIMARY, folder: '/mesh' })).toMatchObject({ name: 'mesh:/mesh' });
  expect(TRUST_DOMAIN).toBe(PRIMARY.trustDomain);
});

function sidecarOf(name: string): string {
  return `service { name = "${name}", port = 1, connect { sidecar_service { port = 2 } } }`;
}

function names({ routes }: RouteSnapshot): readonly string[] {
  return routes.map(({ name }) => name);
}

function paths({ upstreams }: ProxyView): readonly (string | undefined)[] {
  return upstreams.map((upstream) => (upstream.kind === 'reachable' ? upstream.targets[0]?.path : undefined));
}

/** Continues to read a source; the watch is aborted when the test ends. */
function follow<Value>(source: { watch(signal: AbortSignal): AsyncIterable<Value> }): () => Promise<Value> {
  const controller = new AbortController();
  onTestFinished(() => controller.abort());
  const values = source.watch(controller.signal)[Symbol.asyncIterator]();
  return async () => {
    const { value, done } = await values.next();
    if (done === true) throw new Error('expected another value, found the end');
    return value;
  };
}
