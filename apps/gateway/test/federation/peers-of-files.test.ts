// Two clusters of mesh files, each in its own network, with its own trust domain and CA. Only their gateways can reach
// each other.
import { mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { certificateAuthority, rawClient, tcpBackend, tlsBackend, tlsClient } from '@meshgate/testkit';
import type { CertificateAuthority, TlsClient } from '@meshgate/testkit';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Resources, temporaryFolder } from './resources.ts';
import { describeInNetworksOnly } from './consul.ts';
import { DaemonProcess } from './daemon.ts';
import type { DaemonSettings } from './daemon.ts';
import { eventually } from './eventually.ts';
import { Inside } from './inside.ts';
import { connect, Namespace } from './namespace.ts';

const SET_UP_MS = 90_000;
const TEST_MS = 60_000;
/** A change of a file is detected within a second on an idle machine. */
const NOTICED_MS = 20_000;
const ADMIN = { host: '127.0.0.1', port: 19_000 };
const GATEWAY_PORT = 8_443;
const PORTS = { db: 21_000, secret: 21_001 } as const;
/**
 * The addresses of the applications called `app`, in both clusters; and where the proxies of `web` and `edge` expose
 * them.
 */
const APPLICATION_PORT = 6_000;
const SIDECAR_PORT = 21_002;
const UPSTREAM_PORTS = { ofPeer: 7_000, withFailover: 7_001, remote: 7_002 } as const;
/** The address of Consul's servers, where Consul would have them. */
const SERVER_PORT = 8_503;
const SECOND_ADMIN = { ...ADMIN, port: 19_001 };

/** The name and addresses of one of the clusters. */
interface Cluster {
  readonly name: string;
  readonly peer: string;
  readonly trustDomain: string;
  /** Of its gateway, in its own network. */
  readonly lan: string;
  /** Of its gateway, between the two clusters. */
  readonly wan: string;
  /** Of everything else in it. */
  readonly services: string;
}

const ALPHA: Cluster = {
  name: 'alpha',
  peer: 'beta',
  trustDomain: 'aaaaaaaa-2222-3333-4444-555555555555.consul',
  lan: '10.1.0.1',
  wan: '198.18.0.1',
  services: '10.1.0.2',
};
const BETA: Cluster = {
  name: 'beta',
  peer: 'alpha',
  trustDomain: 'bbbbbbbb-2222-3333-4444-555555555555.consul',
  lan: '10.2.0.1',
  wan: '198.18.0.2',
  services: '10.2.0.2',
};

/** Both have the same datacenter name: only the names of peers distinguish them. */
const DATACENTER = 'dc1';

/** The networks of a cluster. */
interface Networks {
  readonly gateway: Namespace;
  readonly services: Namespace;
  readonly atGateway: Inside;
  readonly atServices: Inside;
}

describeInNetworksOnly('two clusters of mesh files, whose gateways are the only connection', () => {
  const resources = new Resources();
  const files = resources.add(temporaryFolder()).path;
  let alpha: Networks;
  let beta: Networks;
  let gateways: readonly [DaemonProcess, DaemonProcess];
  let appOfAlpha: DaemonProcess;
  let sidecars: Readonly<Record<'web' | 'edge', DaemonProcess>>;

  beforeAll(async () => {
    alpha = await networksOf(ALPHA, resources);
    beta = await networksOf(BETA, resources);
    await connect(alpha.gateway, beta.gateway, 'wan');
    for (const [{ gateway }, { wan }] of [[alpha, ALPHA] as const, [beta, BETA] as const])
      await gateway.ip('address', 'add', `${wan}/24`, 'dev', 'wan');
    const [ofAlpha, authority] = [authorityOf(ALPHA), authorityOf(BETA)];
    for (const [name, port] of Object.entries(PORTS)) {
      const uri = `spiffe://${BETA.trustDomain}/ns/default/dc/${DATACENTER}/svc/${name}`;
      const identity = authority.issue({ commonName: name, uris: [uri] });
      const at = await beta.atServices.from({ host: BETA.services, port });
      resources.add(await tlsBackend(name, { at, identity }));
    }
    for (const cluster of [ALPHA, BETA]) await writeCluster(files, cluster);
    await exportToAlpha('db', 'app');
    for (const service of ['web', 'edge', 'app']) await writeSidecar(files, ALPHA, service, ofAlpha, authority);
    await writeSidecar(files, BETA, 'app', authority, ofAlpha);
    for (const [{ atServices }, { name, services, trustDomain }] of [[alpha, ALPHA] as const, [beta, BETA] as const]) {
      const application = await atServices.from({ host: '127.0.0.1', port: APPLICATION_PORT });
      resources.add(await tcpBackend(`app of ${name}`, { at: application }));
      const server = await atServices.from({ host: services, port: SERVER_PORT });
      resources.add(await tlsBackend(`server.${DATACENTER}.peering.${trustDomain}`, { at: server }));
    }
    gateways = [resources.add(gatewayOf(alpha, files, ALPHA)), resources.add(gatewayOf(beta, files, BETA))];
    for (const gateway of gateways) await gateway.ready();
    const inServices = ({ services: namespace, atServices: inside }: Networks) => ({ namespace, inside });
    const atGateway = { namespace: alpha.gateway, inside: alpha.atGateway };
    appOfAlpha = resources.add(sidecarOf(ALPHA, 'app', files, { ...inServices(alpha), admin: SECOND_ADMIN }));
    sidecars = {
      web: resources.add(sidecarOf(ALPHA, 'web', files, { ...inServices(alpha), admin: ADMIN })),
      edge: resources.add(sidecarOf(ALPHA, 'edge', files, { ...atGateway, admin: SECOND_ADMIN })),
    };
    const appOfBeta = resources.add(sidecarOf(BETA, 'app', files, { ...inServices(beta), admin: ADMIN }));
    for (const sidecar of [appOfAlpha, appOfBeta, ...Object.values(sidecars)]) await sidecar.ready();
  }, SET_UP_MS);
  afterAll(() => resources[Symbol.asyncDispose]());

  it('a client here has no path to a service or to the gateway there', async () => {
    for (const at of [
      { host: BETA.services, port: PORTS.db },
      { host: BETA.wan, port: GATEWAY_PORT },
    ])
      expect(await alpha.atServices.probe(at)).toBe('ENETUNREACH');
  });

  it('exported services are reached through both gateways', async () => {
    await using client = await query(nameOf('db'));
    expect([client.serverCertificateName, await client.get()]).toEqual(['db', 'db']);
  });

  it('services that are not exported have no name', async () => {
    for (const name of [
      nameOf('secret'),
      `secret.default.${DATACENTER}.internal.${BETA.trustDomain}`,
      `db.default.${DATACENTER}.internal.${BETA.trustDomain}`,
    ])
      await expect(query(name)).rejects.toThrow();
  });

  it('in the mode local a service here reaches one there through both sidecars and both gateways', async () => {
    const passed = await connections();
    const from = sidecars.web.lines.length;
    expect(await responseFrom(alpha.atServices, UPSTREAM_PORTS.ofPeer)).toBe('app of beta');
    expect(await pathOf(sidecars.web, from)).toEqual(['local-gateway', 'local', whoever(BETA)]);
    expect(await connections()).toEqual(passed.map((count) => count + 1));
  });

  it('in the mode remote it dials the gateway there, past its own', async () => {
    const [here = 0, there = 0] = await connections();
    const from = sidecars.edge.lines.length;
    expect(await responseFrom(alpha.atGateway, UPSTREAM_PORTS.remote)).toBe('app of beta');
    expect(await pathOf(sidecars.edge, from)).toEqual(['remote-gateway', 'remote', whoever(BETA)]);
    expect(await connections()).toEqual([here, there + 1]);
  });

  it(
    'a service that fails here is replaced by that of the peer, and takes over again',
    async () => {
      const answered = (): Promise<string> => responseFrom(alpha.atServices, UPSTREAM_PORTS.withFailover);
      expect(await answered()).toBe('app of alpha');
      await appOfAlpha.kill();
      for (let turn = 0; turn < 8; turn += 1) expect(await answered()).toBe('app of beta');
      appOfAlpha.restart();
      await appOfAlpha.ready();
      expect(await answered()).toBe('app of alpha');
    },
    TEST_MS,
  );

  it("the servers of each cluster are reached through both gateways, by the control plane's names", async () => {
    for (const [{ atServices }, { lan }, { trustDomain }] of [
      [alpha, ALPHA, BETA] as const,
      [beta, BETA, ALPHA] as const,
    ]) {
      const name = `server.${DATACENTER}.peering.${trustDomain}`;
      const passed = await connections();
      await using client = await tlsClient(await atServices.to({ host: lan, port: GATEWAY_PORT }), name);
      expect([client.serverCertificateName, await client.get()]).toEqual([name, name]);
      expect(await connections()).toEqual(passed.map((count) => count + 1));
    }
    const names = (await gateways[0].routes()).map(({ name }) => name);
    expect(names.filter((name) => name.includes('servers'))).toEqual([
      `peering-servers:${DATACENTER}`,
      'remote-peering-servers:beta',
    ]);
  });

  it(
    'a service can be reached from its export until its export ends',
    async () => {
      const [here, there] = gateways;
      await exportToAlpha('db', 'app', 'secret');
      await here.route('imported:beta/secret');
      await there.route('exported:alpha/secret');
      await using client = await query(nameOf('secret'));
      expect(await client.get()).toBe('secret');
      await exportToAlpha('db', 'app');
      for (const [gateway, route] of [
        [here, 'imported:beta/secret'] as const,
        [there, 'exported:alpha/secret'] as const,
      ])
        await eventually(
          `${route} to be gone`,
          async () => ((await gateway.routes()).some(({ name }) => name === route) ? undefined : true),
          NOTICED_MS,
        );
      await expect(query(nameOf('secret'))).rejects.toThrow();
      await using other = await query(nameOf('db'));
      expect(await other.get()).toBe('db');
    },
    TEST_MS,
  );

  /** Number of connections that each gateway has accepted so far. */
  function connections(): Promise<readonly number[]> {
    return Promise.all(gateways.map((gateway) => gateway.metric('meshgate_connections_accepted_total')));
  }

  /** A client in the network of alpha's services, which connects to alpha's gateway. */
  async function query(serverName: string): Promise<TlsClient> {
    return tlsClient(await alpha.atServices.to({ host: ALPHA.lan, port: GATEWAY_PORT }), serverName);
  }

  function exportToAlpha(...services: readonly string[]): Promise<void> {
    const items = services.map((name) => `{ Name = "${name}", Consumers = [ { Peer = "alpha" } ] }`);
    const text = `Kind = "exported-services"\nName = "default"\nServices = [ ${items.join(', ')} ]\n`;
    return write(join(files, BETA.name, DATACENTER, 'exports.hcl'), text);
  }
});

function nameOf(service: string): string {
  return `${service}.default.default.${ALPHA.name}.external.${BETA.trustDomain}`;
}

function uriOf({ trustDomain }: Pick<Cluster, 'trustDomain'>, service: string): string {
  return `spiffe://${trustDomain}/ns/default/dc/${DATACENTER}/svc/${service}`;
}

/** The expected identity behind the peer's gateway: `app`, or the gateway itself if it terminates TLS. */
function whoever(cluster: Cluster): string {
  return `${uriOf(cluster, 'app')} or spiffe://${cluster.trustDomain}/gateway/mesh/dc/${DATACENTER}`;
}

/** The response of the application behind an upstream. */
async function responseFrom(inside: Inside, port: number): Promise<string> {
  await using client = await rawClient(await inside.to({ host: '127.0.0.1', port }));
  await client.send('GET / HTTP/1.1\r\n\r\n');
  return (await client.receiveAll()).toString().split('\r\n\r\n')[1] ?? '';
}

/** The next line of a sidecar's access log, from `from` on. */
async function pathOf(sidecar: DaemonProcess, from: number): Promise<readonly unknown[]> {
  const { path, mode, identity } = await sidecar.line((line) => 'durationMs' in line && 'path' in line, from);
  return [path, mode, identity];
}

/** Two networks, one for the gateway and one for everything else. */
async function networksOf({ name, lan, services }: Cluster, resources: Resources): Promise<Networks> {
  const gateway = resources.add(await Namespace.create(`${name}-gateway`));
  const others = resources.add(await Namespace.create(`${name}-services`));
  await connect(gateway, others, 'lan');
  await gateway.ip('address', 'add', `${lan}/24`, 'dev', 'lan');
  await others.ip('address', 'add', `${services}/24`, 'dev', 'lan');
  return {
    gateway,
    services: others,
    atGateway: resources.add(new Inside(gateway)),
    atServices: resources.add(new Inside(others)),
  };
}

/** The files of a cluster, with a link to those of the other one, and the configuration of its gateway beside them. */
async function writeCluster(files: string, { name, peer, lan, wan, services, trustDomain }: Cluster): Promise<void> {
  const mesh = join(files, name);
  const gateway = `service {
  kind = "mesh-gateway"
  name = "gateway"
  address = "${lan}"
  port = ${GATEWAY_PORT}
  tagged_addresses { wan { address = "${wan}", port = ${GATEWAY_PORT} } }
  proxy { config { envoy_gateway_bind_tagged_addresses = true } }
}
`;
  const definitions = Object.entries(PORTS).map(
    ([service, port]) =>
      `service { name = "${service}", address = "${services}", port = 1, connect { sidecar_service { port = ${port} } } }\n`,
  );
  await write(join(mesh, DATACENTER, 'gateway.hcl'), gateway);
  const app = `service { name = "app", address = "${services}", port = ${APPLICATION_PORT}, connect { sidecar_service { port = ${SIDECAR_PORT} } } }
`;
  const upstream = (port: number, more: string): string =>
    `{ destination_name = "app", local_bind_port = ${port}, ${more} }`;
  const ofPeer = (mode: string): string => `destination_peer = "${peer}", mesh_gateway { mode = "${mode}" }`;
  const proxy = (service: string, address: string, upstreams: readonly string[]): string =>
    `service { name = "${service}", address = "${address}", port = 1, connect { sidecar_service { port = 21000, proxy { upstreams = [ ${upstreams.join(', ')} ] } } } }
`;
  const web = proxy('web', services, [
    upstream(UPSTREAM_PORTS.ofPeer, ofPeer('local')),
    upstream(UPSTREAM_PORTS.withFailover, 'mesh_gateway { mode = "local" }'),
  ]);
  const edge = proxy('edge', lan, [upstream(UPSTREAM_PORTS.remote, ofPeer('remote'))]);
  await write(
    join(mesh, DATACENTER, 'services.hcl'),
    `${name === BETA.name ? definitions.join('') : `${web}${edge}`}${app}`,
  );
  const server = `service { name = "consul", id = "server", address = "${services}", port = 8300, meta { grpc_tls_port = "${SERVER_PORT}" } }`;
  await write(join(mesh, DATACENTER, 'server.hcl'), server);
  await write(join(mesh, DATACENTER, 'mesh.hcl'), 'Kind = "mesh"\nPeering { PeerThroughMeshGateways = true }\n');
  const failover = `Kind = "service-resolver"\nName = "app"\nFailover "*" { Targets = [ { Peer = "${peer}" } ] }\n`;
  if (name === ALPHA.name) await write(join(mesh, DATACENTER, 'failover.hcl'), failover);
  await mkdir(join(mesh, 'peers'));
  await symlink(join('..', '..', peer), join(mesh, 'peers', peer));
  const other = name === ALPHA.name ? BETA : ALPHA;
  const peers = { [peer]: { datacenter: DATACENTER, trustDomain: other.trustDomain, knownAs: name } };
  const source = { use: 'file', mesh: name, datacenter: DATACENTER, trustDomain, peers };
  await write(join(files, `${name}.json`), JSON.stringify({ sources: [source], log: { format: 'json' } }));
}

function authorityOf({ name, trustDomain }: Cluster): CertificateAuthority {
  return certificateAuthority(name, { uris: [`spiffe://${trustDomain}`] });
}

/** The configuration of the sidecar of a service, with its certificate and the roots of both clusters. */
async function writeSidecar(
  files: string,
  { name, trustDomain }: Cluster,
  service: string,
  own: CertificateAuthority,
  other: CertificateAuthority,
): Promise<void> {
  const there = name === ALPHA.name ? BETA : ALPHA;
  const leaf = own.issue({ uris: [uriOf({ trustDomain }, service)] });
  const at = `${name}-${service}`;
  const pem = { [`${at}.pem`]: leaf.chain, [`${at}-key.pem`]: leaf.privateKey, [`${at}-ca.pem`]: own.certificate };
  for (const [file, text] of Object.entries({ ...pem, [`${at}-peer.pem`]: other.certificate }))
    await write(join(files, file), text);
  const peer = { datacenter: DATACENTER, trustDomain: there.trustDomain, knownAs: name, ca: `${at}-peer.pem` };
  const tls = { ca: `${at}-ca.pem`, cert: `${at}.pem`, key: `${at}-key.pem` };
  const source = { use: 'file', mesh: name, datacenter: DATACENTER, trustDomain, peers: { [there.name]: peer }, tls };
  await write(join(files, `${at}.json`), JSON.stringify({ sources: [source], log: { format: 'json' } }));
}

function sidecarOf(
  { name }: Cluster,
  service: string,
  files: string,
  location: Pick<DaemonSettings, 'namespace' | 'inside' | 'admin'>,
): DaemonProcess {
  const flags = ['--sidecar-for', service, '--config', join(files, `${name}-${service}.json`)];
  return new DaemonProcess({ ...location, command: 'sidecar', flags });
}

function gatewayOf({ gateway, atGateway }: Networks, files: string, { name }: Cluster): DaemonProcess {
  const flags = ['--config', join(files, `${name}.json`)];
  return new DaemonProcess({ namespace: gateway, inside: atGateway, command: 'gateway', admin: ADMIN, flags });
}

async function write(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(`${file}.new`, text);
  await rename(`${file}.new`, file);
}
