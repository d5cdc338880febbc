// Two clusters of mesh files, each a network of its own, with a trust domain and authorities of its own. Their gateways reach each other,
// and nobody else does.
import { mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { certificateAuthority, rawClient, tcpBackend, tlsBackend, tlsClient } from '@meshgate/testkit';
import type { CertificateAuthority, TlsClient } from '@meshgate/testkit';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Belongings, temporaryFolder } from './belongings.ts';
import { describeInNetworksOnly } from './consul.ts';
import { DaemonProcess } from './daemon.ts';
import { eventually } from './eventually.ts';
import { Inside } from './inside.ts';
import { connect, Namespace } from './namespace.ts';

const SET_UP_MS = 90_000;
const TEST_MS = 60_000;
/** A file is noticed within a second, on a machine that does nothing else. */
const NOTICED_MS = 20_000;
const ADMIN = { host: '127.0.0.1', port: 19_000 };
const GATEWAY_PORT = 8_443;
const PORTS = { db: 21_000, secret: 21_001 } as const;
/** Of `app`, in the network of its cluster; and of the upstream that leads to it, in that of the other one. */
const APPLICATION_PORT = 6_000;
const UPSTREAM_PORT = 7_000;

/** What one of the clusters is called, and where it is. */
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

/** Both are called the same by their own clusters: only the names of peers tell them apart. */
const DATACENTER = 'dc1';

/** The networks of a cluster. */
interface Networks {
  readonly gateway: Namespace;
  readonly services: Namespace;
  readonly atGateway: Inside;
  readonly atServices: Inside;
}

describeInNetworksOnly('two clusters of mesh files, of which only the gateways reach each other', () => {
  const belongings = new Belongings();
  const files = belongings.add(temporaryFolder()).path;
  let alpha: Networks;
  let gateways: readonly [DaemonProcess, DaemonProcess];

  beforeAll(async () => {
    alpha = await networksOf(ALPHA, belongings);
    const beta = await networksOf(BETA, belongings);
    await connect(alpha.gateway, beta.gateway, 'wan');
    for (const [{ gateway }, { wan }] of [[alpha, ALPHA] as const, [beta, BETA] as const])
      await gateway.ip('address', 'add', `${wan}/24`, 'dev', 'wan');
    const [ofAlpha, authority] = [authorityOf(ALPHA), authorityOf(BETA)];
    for (const [name, port] of Object.entries(PORTS)) {
      const uri = `spiffe://${BETA.trustDomain}/ns/default/dc/${DATACENTER}/svc/${name}`;
      const identity = authority.issue({ commonName: name, uris: [uri] });
      const at = await beta.atServices.from({ host: BETA.services, port });
      belongings.add(await tlsBackend(name, { at, identity }));
    }
    for (const cluster of [ALPHA, BETA]) await writeCluster(files, cluster);
    await exportToAlpha('db', 'app');
    await writeSidecar(files, ALPHA, 'web', ofAlpha, authority);
    await writeSidecar(files, BETA, 'app', authority, ofAlpha);
    const application = await beta.atServices.from({ host: '127.0.0.1', port: APPLICATION_PORT });
    belongings.add(await tcpBackend('app', { at: application }));
    gateways = [belongings.add(gatewayOf(alpha, files, ALPHA)), belongings.add(gatewayOf(beta, files, BETA))];
    for (const gateway of gateways) await gateway.ready();
    for (const [networks, service] of [[beta, 'app'] as const, [alpha, 'web'] as const])
      await belongings.add(sidecarOf(networks, files, service)).ready();
  }, SET_UP_MS);
  afterAll(() => belongings[Symbol.asyncDispose]());

  it('a client here has no way to a service or to the gateway there', async () => {
    for (const at of [
      { host: BETA.services, port: PORTS.db },
      { host: BETA.wan, port: GATEWAY_PORT },
    ])
      expect(await alpha.atServices.probe(at)).toBe('ENETUNREACH');
  });

  it('what is exported is reached through both gateways', async () => {
    await using client = await ask(nameOf('db'));
    expect([client.serverCertificateName, await client.get()]).toEqual(['db', 'db']);
  });

  it('what is not exported is reached by no name', async () => {
    for (const name of [
      nameOf('secret'),
      `secret.default.${DATACENTER}.internal.${BETA.trustDomain}`,
      `db.default.${DATACENTER}.internal.${BETA.trustDomain}`,
    ])
      await expect(ask(name)).rejects.toThrow();
  });

  it('a service here reaches one there through both sidecars and both gateways', async () => {
    await using client = await rawClient(await alpha.atServices.to({ host: '127.0.0.1', port: UPSTREAM_PORT }));
    await client.send('GET / HTTP/1.1\r\n\r\n');
    expect((await client.receiveAll()).toString()).toMatch(/app$/);
  });

  it(
    'what is exported later is reached then, and not when it is exported no more',
    async () => {
      const [here, there] = gateways;
      await exportToAlpha('db', 'app', 'secret');
      await here.route('imported:beta/secret');
      await there.route('exported:alpha/secret');
      await using client = await ask(nameOf('secret'));
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
      await expect(ask(nameOf('secret'))).rejects.toThrow();
      await using other = await ask(nameOf('db'));
      expect(await other.get()).toBe('db');
    },
    TEST_MS,
  );

  /** A client in the network of alpha's services, which knows alpha's gateway. */
  async function ask(serverName: string): Promise<TlsClient> {
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

/** Two networks, one for the gateway and one for everything else. */
async function networksOf({ name, lan, services }: Cluster, belongings: Belongings): Promise<Networks> {
  const gateway = belongings.add(await Namespace.create(`${name}-gateway`));
  const others = belongings.add(await Namespace.create(`${name}-services`));
  await connect(gateway, others, 'lan');
  await gateway.ip('address', 'add', `${lan}/24`, 'dev', 'lan');
  await others.ip('address', 'add', `${services}/24`, 'dev', 'lan');
  return {
    gateway,
    services: others,
    atGateway: belongings.add(new Inside(gateway)),
    atServices: belongings.add(new Inside(others)),
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
  const app = `service { name = "app", address = "${services}", port = ${APPLICATION_PORT}, connect { sidecar_service { port = 21002 } } }`;
  const web = `service { name = "web", address = "${services}", port = 1, connect { sidecar_service { port = 21000, proxy { upstreams {
    destination_name = "app"
    destination_peer = "${peer}"
    local_bind_port = ${UPSTREAM_PORT}
    mesh_gateway { mode = "local" }
  } } } } }`;
  await write(join(mesh, DATACENTER, 'services.hcl'), name === BETA.name ? `${definitions.join('')}${app}` : web);
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
  const leaf = own.issue({ uris: [`spiffe://${trustDomain}/ns/default/dc/${DATACENTER}/svc/${service}`] });
  const pem = {
    [`${service}.pem`]: leaf.chain,
    [`${service}-key.pem`]: leaf.privateKey,
    [`${service}-ca.pem`]: own.certificate,
  };
  for (const [file, text] of Object.entries({ ...pem, [`${service}-peer.pem`]: other.certificate }))
    await write(join(files, file), text);
  const peer = { datacenter: DATACENTER, trustDomain: there.trustDomain, knownAs: name, ca: `${service}-peer.pem` };
  const tls = { ca: `${service}-ca.pem`, cert: `${service}.pem`, key: `${service}-key.pem` };
  const source = { use: 'file', mesh: name, datacenter: DATACENTER, trustDomain, peers: { [there.name]: peer }, tls };
  await write(join(files, `${service}.json`), JSON.stringify({ sources: [source], log: { format: 'json' } }));
}

function sidecarOf({ services, atServices }: Networks, files: string, service: string): DaemonProcess {
  const flags = ['--sidecar-for', service, '--config', join(files, `${service}.json`)];
  return new DaemonProcess({ namespace: services, inside: atServices, command: 'sidecar', admin: ADMIN, flags });
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
