/** A JSON object with Consul's own field names. */
export type ConsulObject = Readonly<Record<string, unknown>>;

/** Data of a stand-in agent. Every field is optional; absent means none. */
export interface StandInMesh {
  /** `dc1` when absent. */
  readonly datacenter?: string;
  /** `11111111-2222-3333-4444-555555555555.consul` when absent. */
  readonly trustDomain?: string;
  /** Roots of the certificate authority, in PEM. */
  readonly roots?: readonly string[];
  readonly services?: readonly StandInService[];
  /** Consul's own servers; one on 127.0.0.1 when absent. */
  readonly servers?: readonly StandInServer[];
  /** Peerings, as `/v1/peerings` returns them; a `Name` is enough. */
  readonly peerings?: readonly ConsulObject[];
  /** Names of exported services by peer. */
  readonly exports?: Readonly<Record<string, readonly string[]>>;
  /** Configuration entries, as `/v1/config` accepts them. */
  readonly entries?: readonly ConsulObject[];
  /** Intentions of all destinations, as `/v1/connect/intentions/match` returns them. */
  readonly intentions?: readonly ConsulObject[];
  /** Default of `/v1/agent/connect/authorize` if no intention matches; `allow` when absent. */
  readonly intentionDefault?: 'allow' | 'deny';
  /**
   * Discovery chains by service, as in `Chain`; when absent, they are compiled from the entries: protocol, default
   * subset, redirect.
   */
  readonly chains?: Readonly<Record<string, ConsulObject>>;
  /** Mesh gateways of other datacenters, by datacenter. */
  readonly remoteGateways?: Readonly<Record<string, readonly StandInService[]>>;
}

/** One registered instance. */
export interface StandInService {
  readonly name: string;
  /** `NAME` when absent. */
  readonly id?: string;
  /** `connect-proxy` with `destination`, `mesh-gateway`; an ordinary service when absent. */
  readonly kind?: string;
  /** The service that a proxy represents. */
  readonly destination?: string;
  /** `node-NAME` when absent. */
  readonly node?: string;
  /** `10.0.0.1` when absent. */
  readonly address?: string;
  /** 0 if registered without a port. */
  readonly port: number;
  /** The address under the tag `wan`. */
  readonly wan?: { readonly address: string; readonly port: number };
  /** Status of its single check; `passing` when absent. */
  readonly status?: string;
  readonly meta?: Readonly<Record<string, string>>;
  /** 1 each when absent. */
  readonly weights?: { readonly passing: number; readonly warning: number };
  /** The peer that it is imported from. */
  readonly peer?: string;
  /** As in `Connect.PeerMeta` of an imported proxy. */
  readonly peerMeta?: {
    readonly SNI: readonly string[];
    readonly SpiffeID: readonly string[];
    readonly Protocol: string;
  };
}

/** One of Consul's servers. */
export interface StandInServer {
  /** Name of its node. */
  readonly node: string;
  /** Address of its node; its RPC port is 8300. */
  readonly address: string;
  /** `grpc_tls_port`, `read_replica` … */
  readonly meta?: Readonly<Record<string, string>>;
}

/** Returns `service`, in `datacenter`, as an element of a health response, for prepared responses. */
export function checkServiceNode(service: StandInService, datacenter: string): ConsulObject {
  return {
    Node: { ...nodeOf(service), Datacenter: datacenter },
    Service: serviceOf(service),
    Checks: checksOf(service),
  };
}

/** Returns nodes as `internal/ui/nodes` does: local ones, then those of peers. */
export function nodesOf(services: readonly StandInService[]): readonly ConsulObject[] {
  const nodes = new Map<string, StandInService[]>();
  for (const service of services) {
    const key = `${service.peer ?? ''}/${nodeName(service)}`;
    nodes.set(key, [...(nodes.get(key) ?? []), service]);
  }
  const all = [...nodes.values()].map((on): ConsulObject => {
    const [first] = on;
    return {
      ...(first === undefined ? {} : nodeOf(first)),
      Services: on.map(serviceOf),
      Checks: on.flatMap(checksOf),
    };
  });
  return [...all.filter((node) => !('PeerName' in node)), ...all.filter((node) => 'PeerName' in node)];
}

/** Returns the servers as instances of the service `consul`. */
export function serverServices(servers: readonly StandInServer[]): readonly StandInService[] {
  return servers.map(({ node, address, meta = {} }) => ({ name: 'consul', node, address, port: 8300, meta }));
}

function nodeName({ node, name }: StandInService): string {
  return node ?? `node-${name}`;
}

function nodeOf(service: StandInService): ConsulObject {
  const { address = DEFAULT_ADDRESS, peer } = service;
  return {
    ID: '',
    Node: nodeName(service),
    Address: address,
    ...(peer === undefined ? {} : { PeerName: peer }),
    TaggedAddresses: {},
    Meta: {},
  };
}

function serviceOf(service: StandInService): ConsulObject {
  const { name, id = name, kind = '', destination, address = DEFAULT_ADDRESS, port, wan, meta = {}, weights } = service;
  return {
    Kind: kind,
    ID: id,
    Service: name,
    Tags: [],
    Address: address,
    TaggedAddresses: wan === undefined ? {} : { wan: { Address: wan.address, Port: wan.port } },
    Meta: meta,
    Port: port,
    Weights: { Passing: weights?.passing ?? 1, Warning: weights?.warning ?? 1 },
    Proxy: destination === undefined ? {} : { DestinationServiceName: destination },
    Connect: service.peerMeta === undefined ? {} : { PeerMeta: service.peerMeta },
    PeerName: service.peer ?? '',
    ModifyIndex: 1,
  };
}

function checksOf(service: StandInService): readonly ConsulObject[] {
  const { name, id = name, status = 'passing' } = service;
  return [
    {
      Node: nodeName(service),
      CheckID: `service:${id}`,
      Name: 'check',
      Status: status,
      ServiceID: id,
      ServiceName: name,
    },
  ];
}

const DEFAULT_ADDRESS = '10.0.0.1';
