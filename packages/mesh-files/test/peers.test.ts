import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { RouteSnapshot } from '@meshgate/core';
import { deriveRoutes } from '@meshgate/mesh';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  type Mesh,
  meshProxyView,
  meshSource,
  type MeshStandpoint,
  parseMeshConfig,
  readMesh,
  tlsFilesOf,
} from '../src/index.ts';
import { meshFolder, type MeshFileContents, writeMesh } from './mesh-folder.ts';

const ALPHA = 'aaaaaaaa-2222-3333-4444-555555555555.consul';
const BETA = 'bbbbbbbb-2222-3333-4444-555555555555.consul';

/** The importing cluster, as it sees the other one. */
const FROM_ALPHA: MeshStandpoint = {
  datacenter: 'dc1',
  trustDomain: ALPHA,
  peers: { beta: { datacenter: 'dc2', trustDomain: BETA, knownAs: 'alpha' } },
};
/** The exporting cluster. */
const FROM_BETA: MeshStandpoint = {
  datacenter: 'dc2',
  trustDomain: BETA,
  peers: { alpha: { datacenter: 'dc1', trustDomain: ALPHA, knownAs: 'beta' } },
};

const gateway = (lan: string, wan: string): string =>
  `service { kind = "mesh-gateway", name = "gateway", address = "${lan}", port = 8443, tagged_addresses { wan { address = "${wan}", port = 443 } } }`;
const service = (name: string, address: string): string =>
  `service { name = "${name}", address = "${address}", port = 1, connect { sidecar_service { port = 21000 } } }`;
const exported = (name: string, peer: string): string =>
  `Kind = "exported-services"\nName = "default"\nServices = [ { Name = "${name}", Consumers = [ { Peer = "${peer}" } ] } ]`;

const ALPHA_FILES: MeshFileContents = {
  'dc1/gateway.hcl': gateway('10.1.0.1', '198.18.0.1'),
  'dc1/web.hcl': `service { name = "web", address = "10.1.0.2", port = 1, connect { sidecar_service { port = 21000, proxy {
    upstreams { destination_name = "db", destination_peer = "beta", local_bind_port = 5432, mesh_gateway { mode = "local" } }
  } } } }`,
};
const BETA_FILES: MeshFileContents = {
  'dc2/gateway.hcl': gateway('10.2.0.1', 'gateway.beta.example.com'),
  'dc2/db.hcl': service('db', '10.2.0.2'),
  'dc2/secret.hcl': service('secret', '10.2.0.3'),
  'dc2/exports.hcl': exported('db', 'alpha'),
};

describe('two clusters of mesh files', () => {
  it('exchange exports by one name, and nothing else', async () => {
    const alpha = await meshOf(ALPHA_FILES, BETA_FILES, FROM_ALPHA, 'beta');
    const beta = await meshOf(BETA_FILES, ALPHA_FILES, FROM_BETA, 'alpha');
    const name = `db.default.default.alpha.external.${BETA}`;
    expect(peered(alpha)).toEqual([`imported:beta/db ${name} gateway.beta.example.com:443`]);
    expect(peered(beta)).toEqual([`exported:alpha/db ${name} 10.2.0.2:21000`]);
    expect([alpha.warnings, beta.warnings]).toEqual([[], []]);
  });

  it('warn when neither exports a service to the other', async () => {
    const { warnings } = await meshOf({ 'dc2/db.hcl': service('db', '10.2.0.2') }, ALPHA_FILES, FROM_BETA, 'alpha');
    expect(warnings).toEqual(['peer alpha, which calls this cluster beta: neither exports a service to the other']);
  });

  it('export every service with one wildcard', async () => {
    const files = { ...BETA_FILES, 'dc2/exports.hcl': exported('*', 'alpha') };
    expect(peered(await meshOf(files, ALPHA_FILES, FROM_BETA, 'alpha')).map((line) => line.split(' ')[0])).toEqual([
      'exported:alpha/db',
      'exported:alpha/secret',
    ]);
    expect(peered(await meshOf(ALPHA_FILES, files, FROM_ALPHA, 'beta')).map((line) => line.split(' ')[0])).toEqual([
      'imported:beta/db',
      'imported:beta/secret',
    ]);
  });

  it('do not route HTTP, whose intentions the gateway cannot enforce', async () => {
    const files = { ...BETA_FILES, 'dc2/p.hcl': 'Kind = "service-defaults"\nName = "db"\nProtocol = "http"' };
    expect(peered(await meshOf(files, ALPHA_FILES, FROM_BETA, 'alpha'))).toEqual([
      expect.stringMatching(/^exported:alpha\/db \S+ $/),
    ]);
  });

  it('route it if that is enabled, and warn about it', async () => {
    const files = { ...BETA_FILES, 'dc2/p.hcl': 'Kind = "service-defaults"\nName = "db"\nProtocol = "grpc"' };
    const folder = await meshFolder(under(files, ALPHA_FILES, 'alpha'));
    const controller = new AbortController();
    onTestFinished(() => controller.abort());
    const source = meshSource({ ...FROM_BETA, folder, httpExports: 'passthrough', pollMs: 0 });
    const { value } = await source.watch(controller.signal)[Symbol.asyncIterator]().next();
    const { routes = [], warnings = [] } = (value as RouteSnapshot | undefined) ?? {};
    expect(routes.find(({ name }) => name === 'exported:alpha/db')?.backends).toHaveLength(1);
    expect(warnings).toContainEqual(expect.stringMatching(/db: .*forwarded without decrypting.*Protocol = "tcp"/));
  });

  it('make a proxy dial its peer through gateways, and trust only the service of the peer and its gateways there', async () => {
    const alpha = await meshOf(ALPHA_FILES, BETA_FILES, FROM_ALPHA, 'beta');
    const [upstream] = meshProxyView(alpha, 'web-sidecar-proxy')?.upstreams ?? [];
    expect(upstream).toMatchObject({
      kind: 'reachable',
      targets: [
        {
          path: 'local-gateway',
          service: 'healthy',
          backends: [{ address: { host: '10.1.0.1', port: 8_443 } }],
          target: {
            serverName: `db.default.default.alpha.external.${BETA}`,
            identities: [
              `spiffe://${BETA}/ns/default/dc/dc2/svc/db`,
              expect.stringContaining(`spiffe://${BETA}/gateway/mesh/dc/dc2`),
            ],
          },
        },
      ],
    });
  });

  it('fail over to each other, by a resolver that names the peer', async () => {
    const files = {
      ...ALPHA_FILES,
      'dc1/db.hcl':
        'service { name = "db", port = 1, check { status = "critical" }, connect { sidecar_service { port = 21000 } } }',
      'dc1/r.hcl': 'Kind = "service-resolver"\nName = "db"\nFailover "*" { Targets = [ { Peer = "beta" } ] }',
      'dc1/shop.hcl': `service { name = "shop", port = 1, connect { sidecar_service { proxy {
        mesh_gateway { mode = "remote" }
        upstreams { destination_name = "db", local_bind_port = 1 }
      } } } }`,
    };
    const alpha = await meshOf(files, BETA_FILES, FROM_ALPHA, 'beta');
    const [upstream] = meshProxyView(alpha, 'shop-sidecar-proxy')?.upstreams ?? [];
    expect(upstream).toMatchObject({
      targets: [
        { service: 'unhealthy', target: { datacenter: 'dc1' } },
        { service: 'healthy', target: { peer: 'beta' }, backends: [{ address: { host: 'gateway.beta.example.com' } }] },
      ],
    });
  });

  it('check callers of peers by sources that name the peer', async () => {
    const intentions = `Kind = "service-intentions"\nName = "web"\nSources = [
      { Name = "shop", Peer = "beta", Action = "allow" }, { Name = "shop", Action = "deny" } ]`;
    const alpha = await meshOf({ ...ALPHA_FILES, 'dc1/i.hcl': intentions }, BETA_FILES, FROM_ALPHA, 'beta');
    expect(alpha.entries.intentions).toEqual([
      { source: 'shop', sourcePeer: 'beta', destination: 'web', action: 'allow' },
      { source: 'shop', destination: 'web', action: 'deny' },
    ]);
  });

  it.each(['Peer', 'PeerName', 'peer_name'])('name the consumer of an export by %s', async (key) => {
    const entry = exported('db', 'alpha').replace('Peer =', `${key} =`);
    const beta = await meshOf({ ...BETA_FILES, 'dc2/exports.hcl': entry }, ALPHA_FILES, FROM_BETA, 'alpha');
    expect(peered(beta)).toEqual([`exported:alpha/db db.default.default.alpha.external.${BETA} 10.2.0.2:21000`]);
  });

  it('allow callers of a peer only at its exports, by name or by one that leads there', async () => {
    const proxyIn = async (files: Readonly<Record<string, string>>) => {
      const alpha = await meshOf({ ...ALPHA_FILES, ...files }, BETA_FILES, FROM_ALPHA, 'beta');
      return meshProxyView(alpha, 'web-sidecar-proxy')?.importers;
    };
    const alias = 'Kind = "service-resolver"\nName = "front"\nRedirect { Service = "web" }';
    expect(await proxyIn({ 'dc1/exports.hcl': exported('web', 'beta') })).toEqual(['beta']);
    expect(await proxyIn({ 'dc1/exports.hcl': exported('front', 'beta'), 'dc1/alias.hcl': alias })).toEqual(['beta']);
    expect(await proxyIn({ 'dc1/exports.hcl': exported('mail', 'beta') })).toEqual([]);
  });

  it('reach the servers of each other through the gateways, if the entry mesh says so', async () => {
    const server = (address: string): string =>
      `service { name = "consul", id = "s1", address = "${address}", port = 8300, meta { grpc_tls_port = "8503" } }`;
    const through = 'Kind = "mesh"\nPeering { PeerThroughMeshGateways = true }';
    const servers = (mesh: Mesh): readonly string[] => peered(mesh, ['peering-servers', 'remote-peering-servers']);
    const here = { ...ALPHA_FILES, 'dc1/s.hcl': server('10.1.0.9') };
    const there = { ...BETA_FILES, 'dc2/s.hcl': server('10.2.0.9') };
    const both = await meshOf(
      { ...here, 'dc1/m.hcl': through },
      { ...there, 'dc2/m.hcl': through },
      FROM_ALPHA,
      'beta',
    );
    expect(servers(both)).toEqual([
      `peering-servers:dc1 server.dc1.peering.${ALPHA} 10.1.0.9:8503`,
      `remote-peering-servers:beta server.dc2.peering.${BETA} gateway.beta.example.com:443`,
    ]);
    // The servers of a cluster without this entry are dialled at their own addresses; a cluster without it routes no
    // servers.
    expect(servers(await meshOf({ ...here, 'dc1/m.hcl': through }, there, FROM_ALPHA, 'beta')).at(-1)).toBe(
      `remote-peering-servers:beta server.dc2.peering.${BETA} 10.2.0.9:8503`,
    );
    expect(servers(await meshOf(here, { ...there, 'dc2/m.hcl': through }, FROM_ALPHA, 'beta'))).toEqual([]);
  });

  it('warn about a peer without a folder', async () => {
    const { peers: _none, ...alone } = FROM_BETA;
    const mesh = await readMesh(await meshFolder(BETA_FILES), alone);
    expect([mesh.warnings, peered(mesh)]).toEqual([['exported-services: unknown peer alpha; peers found: none'], []]);
  });

  it('follow each other, and a mistake of the peer removes nothing', async () => {
    const folder = await meshFolder(under(ALPHA_FILES, BETA_FILES, 'beta'));
    const controller = new AbortController();
    onTestFinished(() => controller.abort());
    const source = meshSource({ ...FROM_ALPHA, folder, pollMs: 0 });
    const snapshots = source.watch(controller.signal)[Symbol.asyncIterator]();
    const next = async (): Promise<RouteSnapshot> => (await snapshots.next()).value as RouteSnapshot;
    const imported = ({ routes }: RouteSnapshot): readonly string[] =>
      routes.flatMap(({ name }) => (name.startsWith('imported') ? [name] : []));
    expect(imported(await next())).toEqual(['imported:beta/db']);
    await writeMesh(folder, { 'peers/beta/dc2/exports.hcl': exported('*', 'alpha') });
    expect(imported(await next())).toEqual(['imported:beta/db', 'imported:beta/secret']);
    await writeMesh(folder, { 'peers/beta/dc2/exports.hcl': 'Kind = "exported-services' });
    const broken = await next();
    expect([imported(broken), broken.warnings?.[0]]).toEqual([
      ['imported:beta/db', 'imported:beta/secret'],
      expect.stringContaining('/peers/beta/dc2/exports.hcl:1:8: invalid HCL'),
    ]);
    await unlink(join(folder, 'peers/beta/dc2/exports.hcl'));
    expect(imported(await next())).toEqual([]);
  });
});

describe('the setting "peers"', () => {
  const SETTINGS = { mesh: 'mesh', datacenter: 'dc1', trustDomain: ALPHA };
  const BETA_SETTINGS = { datacenter: 'dc2', trustDomain: BETA, knownAs: 'alpha' };

  it('shows how each cluster is seen, and the roots that it is trusted by', () => {
    const tls = { ca: 'ca.pem', cert: 'web.pem', key: 'web-key.pem' };
    const config = parseMeshConfig({ ...SETTINGS, tls, peers: { beta: { ...BETA_SETTINGS, ca: 'beta.pem' } } });
    expect(config.peers).toEqual({ beta: { ...BETA_SETTINGS, ca: 'beta.pem' } });
    expect(tlsFilesOf(config, '/etc')).toMatchObject({ ca: '/etc/ca.pem', peers: { beta: '/etc/beta.pem' } });
  });

  it.each([
    [{ beta: {} }, 'peers.beta: expected the key "datacenter", found none'],
    [
      { Beta: BETA_SETTINGS },
      'peers.Beta: expected lower-case letters, digits and hyphens as name of a peer, found "Beta"',
    ],
    [
      { beta: { ...BETA_SETTINGS, knownas: 'x' } },
      'peers.beta.knownas: unknown key "knownas": did you mean "knownAs"?',
    ],
    [
      { beta: { ...BETA_SETTINGS, knownAs: 'A_b' } },
      'peers.beta.knownAs: expected lower-case letters, digits and hyphens, found "A_b"',
    ],
  ])('rejects %j', (peers, message) => {
    expect(() => parseMeshConfig({ ...SETTINGS, peers })).toThrow(
      expect.objectContaining({ message: expect.stringContaining(message) }),
    );
  });
});

function under(own: MeshFileContents, other: MeshFileContents, peer: string): MeshFileContents {
  return {
    ...own,
    ...Object.fromEntries(Object.entries(other).map(([path, text]) => [`peers/${peer}/${path}`, text])),
  };
}

async function meshOf(
  own: MeshFileContents,
  other: MeshFileContents,
  standpoint: MeshStandpoint,
  peer: string,
): Promise<Mesh> {
  return readMesh(await meshFolder(under(own, other, peer)), standpoint);
}

/** The peering routes: name, server names and backends. */
function peered(mesh: Mesh, kinds: readonly string[] = ['exported-service', 'imported-service']): readonly string[] {
  const catalog = mesh.catalogs.get(mesh.datacenter);
  const { routes } = catalog === undefined ? { routes: [] } : deriveRoutes(catalog, { wanFederation: false });
  return routes
    .filter(({ kind = '' }) => kinds.includes(kind))
    .map(({ name, serverNames, backends }) => {
      const dialled = backends.map(({ address: { host, port } }) => `${host}:${port}`);
      return `${name} ${serverNames.join(',')} ${dialled.join(',')}`;
    })
    .toSorted();
}
