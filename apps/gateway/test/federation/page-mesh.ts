// The mesh in which the sections of docs/mesh-gateways.md are run: with Consul, and with mesh files.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Endpoint } from '@meshgate/core';
import { certificateAuthority, tlsBackend } from '@meshgate/testkit';
import type { CertificateAuthority } from '@meshgate/testkit';
import { blocksIn } from '../page.ts';
import { Resources, temporaryFolder } from './resources.ts';
import { consulCommand } from './consul.ts';
import { DaemonProcess } from './daemon.ts';
import type { Location } from './datacenter.ts';
import { Federation, GATEWAY_PORT, wanAddress } from './federation.ts';
import { Inside } from './inside.ts';
import { Machine } from './machine.ts';
import { connect, Namespace } from './namespace.ts';

/** Two datacenters with a gateway each, and api, db and logging in both; `web` is on its own machine. */
export interface PageMesh extends AsyncDisposable {
  readonly machine: Machine;
  readonly trustDomain: string;
  /** Of the primary and of the secondary. */
  readonly gateways: readonly [DaemonProcess, DaemonProcess];
  /**
   * Adds what the blocks of `section` define, and runs the sidecar of `web` with it; disposing of the sidecar removes
   * it again.
   */
  sidecarOf(section: string): Promise<RunningSidecar>;
}

/** A sidecar, and what was defined for it. */
interface RunningSidecar extends AsyncDisposable {
  readonly daemon: DaemonProcess;
}

export const DATACENTERS = ['primary', 'secondary'] as const;

/** Each of them is at {@link lanOf} in both datacenters. */
const SERVICES = ['api', 'db', 'logging'];

/** Where gateways are dialled: that of the primary from its own datacenter, that of the secondary from elsewhere. */
export const NEAR_GATEWAY: Endpoint = { host: '10.1.0.11', port: GATEWAY_PORT };
export const FAR_GATEWAY: Endpoint = { host: wanAddress(2, 0), port: 443 };

const FIRST_HOST = 21;
const INSTANCE_PORT = 20_000;
const WAN_HOST = '198.18.0.29';
const FIRST_WAN_PORT = 20_001;
const SIDECAR_ID = 'web-sidecar-proxy';
const SIDECAR_ADMIN_PORT = 19_000;

/** Address of an instance in its own datacenter: the first or the second. */
export function lanOf(service: string, number: number): Endpoint {
  return { host: `10.${number}.0.${FIRST_HOST + SERVICES.indexOf(service)}`, port: INSTANCE_PORT };
}

/** Address of the secondary's instance for other datacenters. */
export function wanOf(service: string): Endpoint {
  return { host: WAN_HOST, port: FIRST_WAN_PORT + SERVICES.indexOf(service) };
}

/** Real Consul: definitions are passed to its own commands. */
export async function meshInConsul(): Promise<PageMesh> {
  const resources = new Resources();
  try {
    const federation = resources.add(await Federation.create(1, DATACENTERS));
    const { one, two } = federation;
    const machine = resources.add(await Machine.create(one.datacenter, two.datacenter));
    for (const service of SERVICES) {
      const last = FIRST_HOST + SERVICES.indexOf(service);
      await one.datacenter.instance(service, last);
      await two.datacenter.instance(service, last, { wan: wanOf(service) });
    }
    await leadFromWan(two.datacenter);
    const agent = await one.datacenter.agent();
    return {
      machine,
      trustDomain: federation.trustDomain,
      gateways: [one.gateways[0], two.gateways[0]],
      async sidecarOf(section) {
        const defined = await handedToConsul(section, agent);
        const flags = ['--proxy-id', SIDECAR_ID, '--http-addr', agent];
        return running(defined, one.datacenter.sidecar(SIDECAR_ADMIN_PORT, flags, machine));
      },
      [Symbol.asyncDispose]: () => resources[Symbol.asyncDispose](),
    };
  } catch (reason) {
    await resources[Symbol.asyncDispose]();
    throw reason;
  }
}

/** Passes the blocks of `section` to Consul's own commands; reverts it when it is disposed of. */
async function handedToConsul(section: string, address: string): Promise<Resources> {
  const resources = new Resources();
  const { path } = resources.add(temporaryFolder());
  const agent = `-http-addr=${address}`;
  for (const { label, text } of blocksIn(section, 'hcl')) {
    const file = join(path, basename(label));
    writeFileSync(file, text);
    const [, kind] = /^Kind = "(.*)"$/m.exec(text) ?? [];
    const [, name = ''] = /^Name = "(.*)"$/m.exec(text) ?? [];
    const isEntry = kind !== undefined;
    await consulCommand(...(isEntry ? ['config', 'write'] : ['services', 'register']), agent, file);
    const takeBack = isEntry
      ? ['config', 'delete', agent, `-kind=${kind}`, `-name=${name}`]
      : ['services', 'deregister', agent, file];
    resources.add({ [Symbol.asyncDispose]: async () => void (await consulCommand(...takeBack)) });
  }
  return resources;
}

/** Only mesh files: definitions are written into the folder of the primary. */
export async function meshInFiles(): Promise<PageMesh> {
  const resources = new Resources();
  try {
    const { path } = resources.add(temporaryFolder());
    const authority = certificateAuthority('the mesh');
    const locations = [await datacenterAddresses(1, resources), await datacenterAddresses(2, resources)] as const;
    await cableBetween(...locations);
    await leadFromWan(locations[1]);
    const machine = resources.add(await Machine.create(...locations));
    for (const [index, location] of locations.entries()) {
      writeDatacenter(path, index);
      for (const service of SERVICES) resources.add(await instanceIn(location, service, index, authority));
    }
    writeCertificates(path, authority);
    const daemon = (command: 'gateway' | 'sidecar', location: Location, port: number, flags: readonly string[]) =>
      new DaemonProcess({ ...location, command, admin: { host: '127.0.0.1', port }, flags });
    const [near, far] = locations.map((location, index) =>
      resources.add(daemon('gateway', location, 19_001, ['--config', join(path, `gateway-${index + 1}.json`)])),
    );
    if (near === undefined || far === undefined) throw new Error('expected two gateways');
    await Promise.all([near.ready(), far.ready()]);
    const sidecarFlags = ['--proxy-id', SIDECAR_ID, '--config', join(path, 'web.json')];
    return {
      machine,
      trustDomain: TRUST_DOMAIN,
      gateways: [near, far],
      sidecarOf: (section) =>
        Promise.resolve(
          running(writtenToFiles(section, path), daemon('sidecar', machine, SIDECAR_ADMIN_PORT, sidecarFlags)),
        ),
      [Symbol.asyncDispose]: () => resources[Symbol.asyncDispose](),
    };
  } catch (reason) {
    await resources[Symbol.asyncDispose]();
    throw reason;
  }
}

const TRUST_DOMAIN = '11111111-2222-3333-4444-555555555555.consul';

function writtenToFiles(section: string, folder: string): Resources {
  const written = new Resources();
  for (const { label, text } of blocksIn(section, 'hcl')) {
    const file = join(folder, 'mesh', label);
    writeFileSync(file, text);
    written.add({ [Symbol.asyncDispose]: async () => rmSync(file) });
  }
  return written;
}

/** The network of a datacenter, with all its addresses. */
async function datacenterAddresses(number: number, resources: Resources): Promise<Location> {
  const namespace = resources.add(await Namespace.create(`dc${number}`));
  const gateway = `10.${number}.0.11`;
  for (const host of [gateway, ...SERVICES.map((service) => lanOf(service, number).host)])
    await namespace.ip('address', 'add', `${host}/32`, 'dev', 'lo');
  return { namespace, inside: resources.add(new Inside(namespace)) };
}

async function cableBetween(one: Location, two: Location): Promise<void> {
  await connect(one.namespace, two.namespace, 'wan');
  for (const [index, { namespace }] of [one, two].entries())
    await namespace.ip('address', 'add', `${wanAddress(index + 1, 0)}/24`, 'dev', 'wan');
}

/** Gives each instance of the secondary an address for other datacenters. */
async function leadFromWan({ namespace, inside }: Location): Promise<void> {
  await namespace.ip('address', 'add', `${WAN_HOST}/32`, 'dev', 'lo');
  for (const service of SERVICES) await inside.forward(wanOf(service), lanOf(service, 2));
}

/** Everything in a datacenter except `web`, and the configuration of its gateway. */
function writeDatacenter(folder: string, index: number): void {
  const [datacenter, number] = [DATACENTERS[index], index + 1];
  const gateway = `service {
    kind = "mesh-gateway", name = "gateway", address = "10.${number}.0.11", port = ${GATEWAY_PORT}
    tagged_addresses { wan { address = "${wanAddress(number, 0)}", port = 443 } }
    proxy { config { envoy_gateway_bind_tagged_addresses = true } }
  }`;
  const services = SERVICES.map((service) => {
    const { host, port } = lanOf(service, number);
    const wan = wanOf(service);
    return `service { name = "${service}", address = "${host}", port = 1, connect { sidecar_service {
      port = ${port}, tagged_addresses { wan { address = "${wan.host}", port = ${wan.port} } }
    } } }`;
  });
  write(folder, `mesh/${datacenter}/around.hcl`, [gateway, ...services].join('\n'));
  const source = { use: 'file', mesh: 'mesh', datacenter, trustDomain: TRUST_DOMAIN };
  write(folder, `gateway-${number}.json`, JSON.stringify({ sources: [source] }));
  const tls = { ca: 'ca.pem', cert: 'web.pem', key: 'web-key.pem' };
  write(folder, 'web.json', JSON.stringify({ sources: [{ ...source, datacenter: DATACENTERS[0], tls }] }));
}

function writeCertificates(folder: string, authority: CertificateAuthority): void {
  const { chain, privateKey } = authority.issue({ uris: [identityOf('web', DATACENTERS[0])] });
  for (const [name, text] of [
    ['ca.pem', authority.certificate],
    ['web.pem', chain],
    ['web-key.pem', privateKey],
  ] as const)
    write(folder, name, text);
}

async function instanceIn(
  { inside }: Location,
  service: string,
  index: number,
  authority: CertificateAuthority,
): Promise<AsyncDisposable> {
  const identity = authority.issue({ uris: [identityOf(service, DATACENTERS[index] ?? '')] });
  const at = await inside.from(lanOf(service, index + 1));
  return tlsBackend(service, { at, identity, clientCa: authority.certificate });
}

function identityOf(service: string, datacenter: string): string {
  return `spiffe://${TRUST_DOMAIN}/ns/default/dc/${datacenter}/svc/${service}`;
}

function write(folder: string, name: string, text: string): void {
  const file = join(folder, name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

/** The sidecar is stopped before its definition is removed. */
function running(defined: Resources, daemon: DaemonProcess): RunningSidecar {
  defined.add(daemon);
  return { daemon, [Symbol.asyncDispose]: () => defined[Symbol.asyncDispose]() };
}
