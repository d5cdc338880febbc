import { formatEndpoint } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import { rawClient, tcpBackend } from '@meshgate/testkit';
import type { Peer, TestBackend } from '@meshgate/testkit';
import { Resources } from './resources.ts';
import type { DaemonProcess, LogLine } from './daemon.ts';
import type { Datacenter, Location } from './datacenter.ts';
import { Federation } from './federation.ts';
import { Machine, MACHINE } from './machine.ts';

/** Where the mesh mode of an upstream may be set; absent: not set there. */
export interface Modes {
  readonly 'proxy-defaults'?: string;
  readonly 'service-defaults'?: string;
  readonly 'service-instance'?: string;
  readonly upstream?: string;
}

/** An upstream as it is registered with an agent. */
export interface UpstreamRegistration {
  readonly DestinationName: string;
  readonly LocalBindPort: number;
  readonly [setting: string]: unknown;
}

/**
 * Two datacenters with sidecars. `web` of dc1 runs on its own machine, which reaches only what a test allows; `db` runs
 * in both datacenters, each time an echo which answers a GET with its name.
 */
export class SidecarMesh implements AsyncDisposable {
  readonly federation: Federation;
  readonly machine: Machine;
  /** Sidecars. */
  readonly web: DaemonProcess;
  readonly near: Sidecar;
  readonly far: Sidecar;
  readonly #resources: Resources;

  private constructor(parts: SidecarMeshParts) {
    this.federation = parts.federation;
    this.machine = parts.machine;
    this.web = parts.web;
    this.near = parts.near;
    this.far = parts.far;
    this.#resources = parts.resources;
  }

  static async create(): Promise<SidecarMesh> {
    const resources = new Resources();
    try {
      const federation = resources.add(await Federation.create(1));
      const [one, two] = [federation.one.datacenter, federation.two.datacenter];
      const machine = resources.add(await Machine.create(one, two));
      await two.namespace.ip('address', 'add', `${FAR_WAN.host}/32`, 'dev', 'lo');
      const near = await dbOf(one, one.lan(21, 20_000), resources);
      const far = await dbOf(two, two.lan(21, 20_000), resources);
      resources.add(await application('web', APPLICATION, machine));
      await one.consul.put('agent/service/register', webRegistration({}, [DB_THERE]));
      const web = one.sidecar(19_000, ['--http-addr', await one.agent(), '--sidecar-for', 'web-1'], machine);
      await far.daemon.line(({ listener }) => listener === 'public');
      await near.daemon.line(({ listener }) => listener === 'public');
      await web.route('upstream:db@dc2', ({ backends }) => backends.some(({ healthy }) => healthy));
      return new SidecarMesh({ federation, machine, web, near, far, resources });
    } catch (reason) {
      await resources[Symbol.asyncDispose]();
      throw reason;
    }
  }

  /** Sets the mode in every place as given, and the upstreams of `web`. */
  async configure(modes: Modes, upstreams: readonly UpstreamRegistration[] = [DB_THERE]): Promise<void> {
    const { consul } = this.federation.one.datacenter;
    for (const [kind, name] of [
      ['proxy-defaults', 'global'],
      ['service-defaults', 'web'],
    ] as const)
      await consul.put('config', { Kind: kind, Name: name, ...gateway(modes[kind]) });
    await consul.put('agent/service/register', webRegistration(modes, upstreams));
  }

  /** An application that connects to an upstream of its sidecar, by default that of `web`. */
  async application(
    { LocalBindPort: port }: UpstreamRegistration,
    { inside }: Pick<Location, 'inside'> = this.machine,
  ): Promise<Peer> {
    return rawClient(await inside.to({ host: '127.0.0.1', port }));
  }

  /** Name of the service that responds; `nobody` when the connection ends without a response. */
  async respond(upstream: UpstreamRegistration, location?: Pick<Location, 'inside'>): Promise<string> {
    await using client = await this.application(upstream, location);
    await client.send('GET / HTTP/1.1\r\n\r\n').catch(() => undefined);
    const response = await client.receiveAll().catch(() => Buffer.alloc(0));
    return response.toString().split('\r\n\r\n')[1] ?? 'nobody';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources[Symbol.asyncDispose]();
  }
}

interface SidecarMeshParts {
  readonly federation: Federation;
  readonly machine: Machine;
  readonly web: DaemonProcess;
  readonly near: Sidecar;
  readonly far: Sidecar;
  readonly resources: Resources;
}

/** A `db` with its sidecar. */
export interface Sidecar {
  readonly daemon: DaemonProcess;
  readonly application: TestBackend;
  readonly at: Endpoint;
}

/** The upstream `db` of dc2, regardless of what is in dc1. */
export const DB_THERE: UpstreamRegistration = { DestinationName: 'db', Datacenter: 'dc2', LocalBindPort: 10_000 };

/** The upstream `web` of both `db`. */
export const WEB: UpstreamRegistration = {
  DestinationName: 'web',
  Datacenter: 'dc1',
  LocalBindPort: 10_100,
  ...gateway('local'),
};

/** Address of `db` of dc2 for all other datacenters. */
export const FAR_WAN: Endpoint = { host: '198.18.0.29', port: 20_000 };

const APPLICATION: Endpoint = { host: '127.0.0.1', port: 9_000 };

/** A line of the access log for a connection on `listener` to or from a peer in the mesh. */
export function carriedOn(listener: string): (line: LogLine) => boolean {
  return (line) => line['listener'] === listener && 'durationMs' in line && line['route'] !== undefined;
}

function gateway(mode: string | undefined): object {
  return mode === undefined ? {} : { MeshGateway: { Mode: mode } };
}

/** The form `connect { sidecar_service {} }`. */
function webRegistration(modes: Modes, upstreams: readonly UpstreamRegistration[]): object {
  const Proxy = {
    ...gateway(modes['service-instance']),
    Upstreams: upstreams.map((upstream) => ({ ...gateway(modes.upstream), ...upstream })),
  };
  const SidecarService = { Address: MACHINE, Port: 20_000, Proxy };
  return { ID: 'web-1', Name: 'web', Port: APPLICATION.port, Connect: { SidecarService } };
}

/** An instance of `db`, in the form of a service and a separate `connect-proxy`. */
async function dbOf(datacenter: Datacenter, at: Endpoint, resources: Resources): Promise<Sidecar> {
  const { consul, name } = datacenter;
  const backend = resources.add(await application(`db in ${name}`, APPLICATION, datacenter));
  await consul.put('agent/service/register', { ID: 'db-1', Name: 'db', Port: APPLICATION.port });
  await consul.put('agent/service/register', {
    ID: 'db-1-proxy',
    Name: 'db-proxy',
    Kind: 'connect-proxy',
    Address: at.host,
    Port: at.port,
    TaggedAddresses: name === 'dc2' ? { wan: { Address: FAR_WAN.host, Port: FAR_WAN.port } } : {},
    Proxy: {
      DestinationServiceName: 'db',
      DestinationServiceID: 'db-1',
      LocalServicePort: APPLICATION.port,
      Config: { bind_address: '0.0.0.0' },
      Upstreams: [WEB],
    },
    Check: { Name: 'listening', TCP: formatEndpoint(at), Interval: '1s' },
  });
  const daemon = datacenter.sidecar(19_020, ['--http-addr', await datacenter.agent(), '--proxy-id', 'db-1-proxy']);
  return { daemon, application: backend, at };
}

async function application(name: string, at: Endpoint, { inside }: Location): Promise<TestBackend> {
  return tcpBackend(name, { at: await inside.from(at) });
}
