import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatEndpoint } from '@meshgate/core';
import { certificateAuthority } from '@meshgate/testkit';
import type { CertificateAuthority } from '@meshgate/testkit';
import { Resources, temporaryFolder } from './resources.ts';
import { Datacenter } from './datacenter.ts';
import { eventually } from './eventually.ts';
import type { DaemonProcess } from './daemon.ts';
import type { ConsulOptions } from './consul.ts';
import { connect } from './namespace.ts';

/** A datacenter of a federation, with its gateways. */
export interface Member {
  readonly datacenter: Datacenter;
  readonly gateways: Gateways;
}

/** Of the primary datacenter, and of the other one. */
export type Names = readonly [string, string];

/** At least one. */
type Gateways = readonly [DaemonProcess, ...DaemonProcess[]];

/**
 * Two datacenters whose networks are connected by one link, on which only gateways have an address. Their Consul
 * servers are federated through these gateways: there is no other path.
 */
export class Federation implements AsyncDisposable {
  readonly one: Member;
  readonly two: Member;
  readonly trustDomain: string;
  readonly #resources: Resources;

  private constructor(one: Member, two: Member, trustDomain: string, resources: Resources) {
    this.one = one;
    this.two = two;
    this.trustDomain = trustDomain;
    this.#resources = resources;
  }

  /** @param gatewaysEach number of gateways per datacenter: 1 or 2 */
  static async create(gatewaysEach: number, names: Names = ['dc1', 'dc2']): Promise<Federation> {
    const resources = new Resources();
    try {
      const [one, two] = await twoDatacenters(names, resources);
      const members = [memberOf(one, gatewaysEach), memberOf(two, gatewaysEach)] as const;
      await two.consul.ready();
      const federation = new Federation(...members, await one.consul.trustDomain(), resources);
      await federation.#known(gatewaysEach);
      return federation;
    } catch (reason) {
      await resources[Symbol.asyncDispose]();
      throw reason;
    }
  }

  /** The server name of a service in a datacenter for services of the mesh, or of a subset of it: `v1.db`. */
  nameOf(service: string, { datacenter }: Member): string {
    return `${service}.default.${datacenter.name}.internal.${this.trustDomain}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources[Symbol.asyncDispose]();
  }

  /** Waits until every gateway has routes to all gateways of the other datacenter. */
  async #known(gatewaysEach: number): Promise<void> {
    for (const [member, other] of [
      [this.one, this.two],
      [this.two, this.one],
    ] as const) {
      const route = `datacenter:${other.datacenter.name}`;
      for (const gateway of member.gateways)
        await gateway.route(route, ({ backends }) => backends.filter(({ healthy }) => healthy).length === gatewaysEach);
    }
    await eventually('both servers in both lists', () => this.#bothAlive(), ALIVE_MS);
  }

  async #bothAlive(): Promise<true | undefined> {
    const lists = await Promise.all([membersSeenBy(this.one), membersSeenBy(this.two)]);
    return lists.every((list) => list.length === 2) ? true : undefined;
  }
}

// Gossip is slow to accept a member that it has once suspected.
const ALIVE_MS = 60_000;

/** The servers in all datacenters that a datacenter's own server considers alive: `server-1.dc1`. */
export async function membersSeenBy({ datacenter }: Member): Promise<readonly string[]> {
  const members = (await datacenter.consul.get('agent/members?wan=1')) as readonly WanMember[];
  return members.filter(({ Status }) => Status === SERF_ALIVE).map(({ Name }) => Name);
}

interface WanMember {
  readonly Name: string;
  readonly Status: number;
}

/** Serf's number for this status. */
const SERF_ALIVE = 1;

/** The primary, ready; and the secondary, which still has to reach the primary. */
async function twoDatacenters(names: Names, resources: Resources): Promise<readonly [Datacenter, Datacenter]> {
  const papers = { authority: certificateAuthority('servers'), folder: resources.add(temporaryFolder()).path };
  const one = resources.add(await Datacenter.create(1, federated(1, names, papers)));
  await one.consul.ready();
  const two = await Datacenter.create(2, federated(2, names, papers), async (network, inside) => {
    await connect(one.namespace, network, WAN);
    for (const index of [0, 1]) {
      await one.namespace.ip('address', 'add', `${wanAddress(1, index)}/24`, 'dev', WAN);
      await network.ip('address', 'add', `${wanAddress(2, index)}/24`, 'dev', WAN);
    }
    await inside.forward({ host: '10.2.0.2', port: EXIT }, { host: wanAddress(1, 0), port: 443 });
  });
  return [one, resources.add(two)];
}

/** Where gateways listen in their own datacenter. */
export const GATEWAY_PORT = 8443;

/** The interface of the link between the datacenters. */
const WAN = 'wan';

/** Of the gateway with this index. */
export function wanAddress(datacenter: number, index: number): string {
  return `198.18.0.${datacenter}${index + 1}`;
}

/**
 * A server that has not yet joined the primary dials its gateways directly, from its own address, which has no route
 * there: outgoing packets are translated (SNAT).
 */
const EXIT = 443;

function memberOf(datacenter: Datacenter, gateways: number): Member {
  const others = Array.from({ length: gateways - 1 }, (_none, index) => gatewayOf(datacenter, index + 1));
  return { datacenter, gateways: [gatewayOf(datacenter, 0), ...others] };
}

function gatewayOf(datacenter: Datacenter, index: number): DaemonProcess {
  const lan = formatEndpoint(datacenter.lan(11 + index, GATEWAY_PORT));
  const wan = `${wanAddress(datacenter.number, index)}:443`;
  const flags = ['--register', '--expose-servers', '--address', lan, '--wan-address', wan];
  return datacenter.gateway(19_001 + index, ...flags, '--proxy-id', `gateway-${index + 1}`);
}

/**
 * Federation through gateways, as in Consul's documentation: TLS between servers, and only gateways have WAN addresses.
 */
function federated(number: 1 | 2, names: Names, { authority, folder }: Papers): ConsulOptions {
  const [primary] = names;
  const datacenter = names[number - 1] ?? primary;
  const name = `server.${datacenter}.consul`;
  const dnsNames = [name, `server-${number}.${name}`, 'localhost'];
  const { chain, privateKey } = authority.issue({ dnsNames, addresses: ['127.0.0.1'] });
  const file = (label: string, content: string): string => {
    const path = join(folder, `${label}-${number}.pem`);
    writeFileSync(path, content);
    return path;
  };
  const settings = {
    primary_datacenter: primary,
    connect: { enabled: true, enable_mesh_gateway_wan_federation: true },
    ca_file: file('ca', authority.certificate),
    cert_file: file('cert', chain),
    key_file: file('key', privateKey),
    verify_incoming_rpc: true,
    verify_outgoing: true,
    verify_server_hostname: true,
    ...(number === 1 ? {} : SECONDARY),
  };
  return { datacenter, settings };
}

/** The certificate of a server, and the paths of its files. */
interface Papers {
  readonly authority: CertificateAuthority;
  readonly folder: string;
}

const SECONDARY = {
  primary_gateways: [`10.2.0.2:${EXIT}`],
  // Consul's minimum, so that federation is not slower than necessary.
  primary_gateways_interval: '1s',
  retry_interval_wan: '1s',
};
