import { Resources } from './resources.ts';
import type { Location } from './datacenter.ts';
import { Inside } from './inside.ts';
import { connect, Namespace } from './namespace.ts';

/**
 * A machine with its own network, and links to two datacenters: to its own by the LAN, to the other by the WAN. It only
 * has routes to the addresses that {@link Machine.reaches} lists.
 */
export class Machine implements Location, AsyncDisposable {
  readonly namespace: Namespace;
  readonly inside: Inside;
  readonly #resources: Resources;
  #reached: readonly string[] = [];

  private constructor(namespace: Namespace, inside: Inside, resources: Resources) {
    this.namespace = namespace;
    this.inside = inside;
    this.#resources = resources;
  }

  static async create(home: Network, other: Network): Promise<Machine> {
    const resources = new Resources();
    try {
      const namespace = resources.add(await Namespace.create('machine'));
      await cable(namespace, home.namespace, LAN);
      await cable(namespace, other.namespace, WAN);
      return new Machine(namespace, resources.add(new Inside(namespace)), resources);
    } catch (reason) {
      await resources[Symbol.asyncDispose]();
      throw reason;
    }
  }

  /**
   * From now on it has routes to exactly these addresses: through the LAN to those that begin with 10, through the WAN
   * to others.
   */
  async reaches(...hosts: readonly string[]): Promise<void> {
    for (const host of this.#reached) if (!hosts.includes(host)) await this.namespace.ip('route', 'del', host);
    for (const host of hosts) await this.namespace.ip('route', 'replace', host, 'via', gatewayTo(host));
    this.#reached = hosts;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources[Symbol.asyncDispose]();
  }
}

type Network = Pick<Location, 'namespace'>;

/** Both ends of a link. */
interface Cable {
  readonly name: string;
  /** The machine's end. */
  readonly own: string;
  readonly far: string;
}

/** The machine's address for others. */
export const MACHINE = '10.1.1.2';

const LAN: Cable = { name: 'machine-lan', own: MACHINE, far: '10.1.1.1' };
const WAN: Cable = { name: 'machine-wan', own: '198.18.1.2', far: '198.18.1.1' };

async function cable(machine: Namespace, datacenter: Namespace, { name, own, far }: Cable): Promise<void> {
  await connect(machine, datacenter, name);
  await machine.ip('address', 'add', `${own}/30`, 'dev', name);
  await datacenter.ip('address', 'add', `${far}/30`, 'dev', name);
}

function gatewayTo(host: string): string {
  return host.startsWith('10.') ? LAN.far : WAN.far;
}
