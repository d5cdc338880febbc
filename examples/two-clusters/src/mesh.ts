// The gateways, sidecars and applications of both clusters.
import { once } from 'node:events';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatEndpoint } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import { eventually } from '@meshgate/example-two-datacenters';
import type { Attempt, Company, Program, Stage } from '@meshgate/example-two-datacenters';
import { certificateAuthority } from '@meshgate/testkit';
import { responseOf, CLUSTERS, SERVICES } from './clusters.ts';
import type { ClusterName } from './clusters.ts';

/** Everything that carries requests. */
export interface Mesh {
  /** The sidecar of `web`, whose access log shows the path of requests. */
  readonly web: Program;
  /** Addresses of the gateways' admin APIs. */
  readonly gateways: Readonly<Record<ClusterName, string>>;
}

/** Each cluster reads the other cluster's files below its own `peers`, under its name for it. */
export async function linkPeers({ folder }: Pick<Stage, 'folder'>): Promise<void> {
  for (const [own, peer] of [['alpha', 'beta'] as const, ['beta', 'alpha'] as const]) {
    const link = join(folder, 'mesh', own, 'peers', peer);
    await mkdir(dirname(link));
    await symlink(join('..', '..', peer), link);
  }
}

/** A CA per cluster, whose key is discarded, and a certificate from it for each service. */
export async function issueCertificates({ folder }: Pick<Stage, 'folder'>): Promise<void> {
  const certificates = join(folder, 'certificates');
  await mkdir(certificates);
  for (const { name: cluster, trustDomain } of CLUSTERS) {
    // The root has the trust domain, as in Consul: it distinguishes a peer's certificates from our own.
    const authority = certificateAuthority(cluster, { uris: [`spiffe://${trustDomain}`] });
    await writeFile(join(certificates, `${cluster}-ca.pem`), authority.certificate);
    for (const { name } of SERVICES.filter((service) => service.cluster === cluster)) {
      const leaf = authority.issue({ uris: [`spiffe://${trustDomain}/ns/default/dc/dc1/svc/${name}`] });
      await writeFile(join(certificates, `${cluster}-${name}.pem`), leaf.chain);
      await writeFile(join(certificates, `${cluster}-${name}-key.pem`), leaf.privateKey, { mode: 0o600 });
    }
  }
}

/** Starts everything, and waits until every process listens and `web` has a healthy backend for each upstream. */
export async function startMesh(stage: Stage, company: Company, signal: AbortSignal): Promise<Mesh> {
  for (const service of SERVICES)
    await company.keep(await application(stage.at(service.application), responseOf(service)));
  const start = (cluster: ClusterName, what: string, words: readonly string[]): Program => {
    const config = join(stage.folder, 'config', `${cluster}-${what}.yaml`);
    return company.start(`${what} of ${cluster}`, process.execPath, [MESHGATE, ...words, '--config', config]);
  };
  for (const { name } of CLUSTERS) start(name, 'gateway', ['gateway']);
  const sidecars = SERVICES.map(({ cluster, name }) => start(cluster, name, ['sidecar', '--sidecar-for', name]));
  const admins = [...CLUSTERS.map(({ gateway }) => gateway.admin), ...SERVICES.map(({ admin }) => admin)];
  for (const admin of admins) {
    const url = urlOf(admin, stage);
    await eventually(`${url} to be ready`, READY_MS, signal, () => readiness(url));
  }
  const [web] = sidecars;
  if (web === undefined) throw new Error('expected the sidecar of web, found none');
  const [alpha, beta] = CLUSTERS;
  return { web, gateways: { alpha: urlOf(alpha.gateway.admin, stage), beta: urlOf(beta.gateway.admin, stage) } };
}

const MESHGATE = fileURLToPath(new URL('../../../apps/gateway/dist/main.js', import.meta.url));
// Nine processes start, on a machine of any speed.
const READY_MS = 60_000;

/** Queries an admin API. */
export async function query(url: string): Promise<string> {
  const result = await fetch(url, { signal: AbortSignal.timeout(RESPONSE_MS) });
  return result.text();
}

const RESPONSE_MS = 5_000;

interface RoutesResponse {
  readonly routes: readonly { readonly name: string; readonly backends: readonly { readonly healthy: boolean }[] }[];
}

async function readiness(admin: string): Promise<Attempt<true>> {
  const { ready, reasons } = JSON.parse(await query(`${admin}/ready`)) as {
    ready: boolean;
    reasons: readonly string[];
  };
  if (!ready) return { missing: reasons.join(', ') };
  const { routes } = JSON.parse(await query(`${admin}/routes`)) as RoutesResponse;
  const unserved = routes.filter(({ backends }) => !backends.some(({ healthy }) => healthy));
  return unserved.length === 0
    ? { done: true }
    : { missing: `no healthy backend of ${unserved.map(({ name }) => name).join(', ')}` };
}

function urlOf(address: Endpoint, stage: Stage): string {
  return `http://${formatEndpoint(stage.at(address))}`;
}

/**
 * Plain HTTP, for its sidecar only: it knows nothing of the mesh. One connection per request, so that each appears in
 * the logs.
 */
async function application(at: Endpoint, result: string): Promise<AsyncDisposable> {
  const server = createServer((_request, response) => void response.setHeader('connection', 'close').end(result));
  server.listen(at);
  await once(server, 'listening');
  return {
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
