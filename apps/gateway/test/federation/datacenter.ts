import { formatEndpoint } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import { tlsBackend, tlsClient } from '@meshgate/testkit';
import type { IssuedCertificate, TlsClient, TlsTestBackend } from '@meshgate/testkit';
import { Resources } from './resources.ts';
import { Consul, HTTP } from './consul.ts';
import type { ConsulOptions } from './consul.ts';
import { DaemonProcess } from './daemon.ts';
import { Inside } from './inside.ts';
import { Namespace } from './namespace.ts';

/** A datacenter: a network with a Consul server, gateways and services, isolated unless it is connected. */
export class Datacenter implements AsyncDisposable {
  readonly name: string;
  readonly number: number;
  readonly namespace: Namespace;
  readonly inside: Inside;
  readonly consul: Consul;
  readonly #resources: Resources;
  #web: Promise<IssuedCertificate> | undefined;

  private constructor(parts: DatacenterParts) {
    this.name = parts.name;
    this.namespace = parts.namespace;
    this.inside = parts.inside;
    this.consul = parts.consul;
    this.number = parts.number;
    this.#resources = parts.resources;
  }

  /**
   * Creates one, without waiting for its Consul to be ready.
   *
   * @param number 1 or 2: its addresses are below 10.1.0, its name is `dc1` unless `consul` overrides it
   * @param prepare called when the network exists, before Consul starts
   */
  static async create(number: number, consul: ConsulOptions, prepare?: Prepare): Promise<Datacenter> {
    const resources = new Resources();
    try {
      const namespace = resources.add(await Namespace.create(`dc${number}`));
      for (const last of HOSTS) await namespace.ip('address', 'add', `10.${number}.0.${last}/32`, 'dev', 'lo');
      const inside = resources.add(new Inside(namespace));
      await prepare?.(namespace, inside);
      const name = consul.datacenter ?? `dc${number}`;
      const own = { bind_addr: `10.${number}.0.2`, datacenter: name, node_name: `server-${number}` };
      const settings = { ...own, ...consul.settings };
      const server = resources.add(Consul.start(namespace, inside, { ...consul, settings }));
      return new Datacenter({ name, number, namespace, inside, consul: server, resources });
    } catch (reason) {
      await resources[Symbol.asyncDispose]();
      throw reason;
    }
  }

  /** An address in this datacenter's network. */
  lan(last: number, port: number): Endpoint {
    return { host: `10.${this.number}.0.${last}`, port };
  }

  /** Runs a gateway with these flags; see {@link DaemonProcess.ready}. */
  gateway(adminPort: number, ...flags: readonly string[]): DaemonProcess {
    const { namespace, inside } = this;
    const admin = { host: '127.0.0.1', port: adminPort };
    return this.#resources.add(new DaemonProcess({ namespace, inside, command: 'gateway', admin, flags }));
  }

  /**
   * Runs a sidecar with these flags.
   *
   * @param place where; by default in this datacenter's network
   */
  sidecar(adminPort: number, flags: readonly string[], { namespace, inside }: Location = this): DaemonProcess {
    const admin = { host: '127.0.0.1', port: adminPort };
    return this.#resources.add(new DaemonProcess({ namespace, inside, command: 'sidecar', admin, flags }));
  }

  /** Address of its agent for `--http-addr`: one that is reachable from every network. */
  async agent(): Promise<string> {
    return (await this.inside.to(HTTP)).host.replace('unix:', 'unix://');
  }

  /**
   * An instance of a service: registered with a sidecar, which is a TLS server with the identity of the service that
   * requires a certificate of the mesh. A Consul check connects to it every second.
   *
   * @param last the last part of its address
   */
  async instance(service: string, last: number, { meta = {}, wan }: InstanceOptions = {}): Promise<TlsTestBackend> {
    const at = this.lan(last, SIDECAR_PORT);
    const backend = await this.serve(service, at);
    const check = { Name: 'listening', TCP: formatEndpoint(at), Interval: '1s', Status: 'passing' };
    const tagged = wan === undefined ? {} : { TaggedAddresses: { wan: { Address: wan.host, Port: wan.port } } };
    const sidecar = { Address: at.host, Port: at.port, Meta: meta, Checks: [check], ...tagged };
    const id = `${service}-${last}`;
    await this.consul.put('agent/service/register', {
      Name: service,
      ID: id,
      Port: 80,
      Connect: { SidecarService: sidecar },
    });
    return backend;
  }

  /**
   * A TLS server on an address of this network, with the identity of a service, which requires a certificate of the
   * mesh.
   */
  async serve(service: string, at: Endpoint): Promise<TlsTestBackend> {
    const identity = await this.consul.identity(service);
    const clientCa = await this.consul.roots();
    return this.#resources.add(await tlsBackend(service, { at: await this.inside.from(at), identity, clientCa }));
  }

  /**
   * A client in this network, which connects to a gateway and requests a name.
   *
   * @param identity by default that of the service `web`, issued on first use
   */
  async client(gateway: Endpoint, serverName: string, identity?: IssuedCertificate): Promise<TlsClient> {
    const shown = identity ?? (await (this.#web ??= this.consul.identity('web')));
    return tlsClient(await this.inside.to(gateway), serverName, { identity: shown });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources[Symbol.asyncDispose]();
  }
}

/** The registration of an instance, except its address. */
export interface InstanceOptions {
  readonly meta?: Readonly<Record<string, string>>;
  /** Its address for other datacenters; by default its address. */
  readonly wan?: Endpoint;
}

/** A network in which processes run. */
export type Location = Pick<Datacenter, 'namespace' | 'inside'>;

/** A hook that is called for a network before Consul starts in it. */
export type Prepare = (namespace: Namespace, inside: Inside) => Promise<void>;

interface DatacenterParts {
  readonly name: string;
  readonly number: number;
  readonly namespace: Namespace;
  readonly inside: Inside;
  readonly consul: Consul;
  readonly resources: Resources;
}

/** Any port will do: the address is the service's own. */
export const SIDECAR_PORT = 20_000;

/** Last parts of the addresses in a datacenter: its server, gateways, services. */
const HOSTS = [2, 11, 12, 21, 22, 23];
