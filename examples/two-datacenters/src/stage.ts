// The folder in which a demonstration runs: a copy of this example's files, with addresses that can be had.
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatEndpoint } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import { certificateAuthority } from '@meshgate/testkit';
import type { Form, Options } from './options.ts';
import { AGENTS, GATEWAYS, REQUESTS, SERVICES } from './picture.ts';

/** Where a demonstration runs. Disposing of it removes its folder. */
export interface Stage extends AsyncDisposable {
  readonly folder: string;
  /** Where on this machine is what the files of the example put at `address`. */
  at(address: Endpoint): Endpoint;
  /** Whether all is on 127.0.0.1. */
  readonly oneAddress: boolean;
  /** For people, a line each: addresses of the files that could not be had, and those taken instead. */
  readonly moved: readonly string[];
}

/** Copies the example's files into a folder of their own, and fills in what this machine wants otherwise. */
export async function setUp(form: Form, options: Pick<Options, 'freePorts' | 'oneAddress'>): Promise<Stage> {
  const oneAddress = options.oneAddress || !(await hostsAvailable());
  const places = placesOf(form);
  const alone = options.freePorts ? undefined : await listening(DOORBELL);
  const taken = await claim(places, oneAddress, alone === undefined);
  const folder = await mkdtemp(join(tmpdir(), 'meshgate-demo-'));
  const fill = (text: string): string => filledIn(text, taken, oneAddress);
  for (const part of ['mesh', ...(form === 'consul' ? ['consul'] : ['config'])]) await copyFilled(part, folder, fill);
  return {
    folder,
    at: (address) => taken.get(address.port) ?? address,
    oneAddress,
    moved: options.freePorts ? [] : alone === undefined ? [NOT_ALONE] : movedOf(places, taken),
    async [Symbol.asyncDispose]() {
      if (alone !== undefined) await closed(alone);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Held as long as a demonstration runs. Another one that starts meanwhile would find ports free that are about to be taken. */
const DOORBELL: Endpoint = { host: '127.0.0.1', port: 11_000 };
const NOT_ALONE = `${formatEndpoint(DOORBELL)} is in use, as by another demo: all ports are others`;

/** The trust domain of the mesh files: what would be Consul's cluster id. */
const TRUST_DOMAIN = '11111111-2222-3333-4444-555555555555.consul';

/** Writes a certificate for each service, from an authority that nobody keeps. With Consul that is done by Consul. */
export async function issueCertificates({ folder }: Pick<Stage, 'folder'>): Promise<void> {
  const authority = certificateAuthority('two datacenters');
  const certificates = join(folder, 'certificates');
  await mkdir(certificates);
  await writeFile(join(certificates, 'ca.pem'), authority.certificate);
  for (const { name, datacenter } of SERVICES) {
    const leaf = authority.issue({ uris: [`spiffe://${TRUST_DOMAIN}/ns/default/dc/${datacenter}/svc/${name}`] });
    await writeFile(join(certificates, `${name}.pem`), leaf.chain);
    await writeFile(join(certificates, `${name}-key.pem`), leaf.privateKey, { mode: 0o600 });
  }
}

const EXAMPLE = fileURLToPath(new URL('..', import.meta.url));
const LOCALHOST = '127.0.0.1';

/** Everything that listens, as the files put it. No port occurs twice in them, whatever its address. */
function placesOf(form: Form): readonly Endpoint[] {
  return [
    ...GATEWAYS.flatMap(({ lan, wan, admin }) => [lan, wan, admin]),
    ...SERVICES.flatMap(({ application, sidecar, admin }) => [application, sidecar, admin]),
    ...REQUESTS.map(({ at }) => at),
    ...(form === 'consul' ? AGENTS.flatMap(({ http, others }) => [http, ...others]) : []),
  ];
}

/** Linux answers on all of 127.0.0.0/8. macOS has 127.0.0.1 only, unless somebody has added others. */
async function hostsAvailable(): Promise<boolean> {
  for (const host of new Set(placesOf('consul').map((place) => place.host))) {
    const probe = await listening({ host, port: 0 });
    if (probe === undefined) return false;
    await closed(probe);
  }
  return true;
}

/** By the port of the files: the address that can be had instead, the same one where possible. */
async function claim(
  places: readonly Endpoint[],
  oneAddress: boolean,
  freePorts: boolean,
): Promise<ReadonlyMap<number, Endpoint>> {
  const taken = new Map<number, Endpoint>();
  const probes: Server[] = [];
  for (const place of places) {
    const host = oneAddress ? LOCALHOST : place.host;
    const wanted = freePorts ? undefined : await listening({ host, port: place.port });
    const probe = wanted ?? (await listening({ host, port: 0 }));
    if (probe === undefined) throw new Error(`expected a free port of ${host}, found none`);
    probes.push(probe);
    taken.set(place.port, { host, port: (probe.address() as AddressInfo).port });
  }
  // All together, so that nobody is given the port of another.
  await Promise.all(probes.map(closed));
  return taken;
}

async function listening(at: Endpoint): Promise<Server | undefined> {
  const server = createServer();
  try {
    server.listen({ host: at.host, port: at.port });
    await once(server, 'listening');
    return server;
  } catch {
    return undefined;
  }
}

async function closed(server: Server): Promise<void> {
  server.close();
  await once(server, 'close');
}

function movedOf(places: readonly Endpoint[], taken: ReadonlyMap<number, Endpoint>): readonly string[] {
  return places.flatMap(({ host, port }) => {
    const instead = taken.get(port);
    if (instead === undefined || instead.port === port) return [];
    return [`${formatEndpoint({ host, port })} is in use: ${formatEndpoint(instead)} is taken instead`];
  });
}

function filledIn(text: string, taken: ReadonlyMap<number, Endpoint>, oneAddress: boolean): string {
  const ports = text.replaceAll(/\b\d{5}\b/g, (port) => String(taken.get(Number(port))?.port ?? port));
  return oneAddress ? ports.replaceAll(/\b127\.0\.\d+\.\d+\b/g, LOCALHOST) : ports;
}

async function copyFilled(part: string, folder: string, fill: (text: string) => string): Promise<void> {
  const entries = await readdir(join(EXAMPLE, part), { recursive: true, withFileTypes: true });
  for (const entry of entries.filter((one) => one.isFile())) {
    const file = join(entry.parentPath, entry.name);
    const copy = join(folder, file.slice(EXAMPLE.length));
    await mkdir(dirname(copy), { recursive: true });
    await writeFile(copy, fill(await readFile(file, 'utf8')));
  }
}
