import { formatEndpoint } from '@meshgate/core';
import { defined } from '@meshgate/core/parts';
import { compileChain, dialAddress, peeringServersName, peeringServers, replicated } from '@meshgate/mesh';
import type {
  Catalog,
  ChainTarget,
  ConfigEntries,
  DiscoveryChain,
  ExportedService,
  ExportTarget,
  ImportedService,
  ClusterPeer,
  Selection,
} from '@meshgate/mesh';
import type { Mesh, PeerStandpoints } from './mesh.ts';

/**
 * Returns the mesh, with the services that the local datacenter exchanges with its peers. Computes the data that the
 * servers of both clusters would replicate from the files of both, by Consul's rules.
 *
 * @param peers meshes of the peers, by local name
 */
export function withPeers(mesh: Mesh, peers: ReadonlyMap<string, Mesh>, standpoints: PeerStandpoints): Mesh {
  if (peers.size === 0 && mesh.exports.length === 0) return mesh;
  const catalog = mesh.catalogs.get(mesh.datacenter);
  const imports = Array.from(peers, ([name, peer]) => importsOf(name, peer, standpoints[name]?.knownAs ?? '')).flat();
  const peering = {
    peers: Array.from(peers, ([name, peer]) => peerOf(name, peer)),
    exports: exportsOf(mesh),
    imports,
    throughGateways: mesh.entries.mesh?.peersThroughGateways ?? false,
  };
  return {
    ...mesh,
    catalogs:
      catalog === undefined ? mesh.catalogs : new Map([...mesh.catalogs, [mesh.datacenter, { ...catalog, peering }]]),
    warnings: [...mesh.warnings, ...quiet(peers, mesh, imports, standpoints), ...strangers(mesh, peers)],
    instancesOf: (target) =>
      target.peer === undefined ? mesh.instancesOf(target) : imported(imports, peers, target.peer, target.service),
  };
}

function imported(
  imports: readonly ImportedService[],
  peers: ReadonlyMap<string, Mesh>,
  peer: string,
  service: string,
): Selection | undefined {
  if (!peers.has(peer)) return undefined;
  const found = imports.find((one) => one.peer === peer && one.name === service);
  return { kind: 'selected', instances: found?.instances ?? [] };
}

/** Returns an established peering. Either cluster may have dialled the other: the files do not tell. */
function peerOf(name: string, peer: Mesh): ClusterPeer {
  const serverAddresses = serverAddressesOf(peer);
  const serverName = serverAddresses.length === 0 ? undefined : peeringServersName(peer);
  return {
    name,
    state: 'ACTIVE',
    isDeleted: false,
    serverAddresses,
    roots: [],
    modifyIndex: 0,
    ...defined({ serverName }),
  };
}

/**
 * Returns the addresses at which other clusters dial a cluster's servers: those of its mesh gateways if its `mesh`
 * entry says so, else those of the servers themselves.
 */
function serverAddressesOf({ datacenter, catalogs, entries }: Mesh): readonly string[] {
  const { servers = [], gateways = [] } = catalogs.get(datacenter) ?? {};
  const isThrough = entries.mesh?.peersThroughGateways ?? false;
  const own = gateways.find((group) => group.datacenter === datacenter)?.gateways ?? [];
  const dialled = isThrough ? own : peeringServers(servers);
  return dialled.flatMap((instance) => {
    const address = dialAddress(instance, 'wan');
    return address === undefined ? [] : [formatEndpoint(address)];
  });
}

function exportsOf(mesh: Mesh): readonly ExportedService[] {
  const { services = [] } = mesh.catalogs.get(mesh.datacenter) ?? {};
  const peersOf = new Map<string, Set<string>>();
  for (const { service, peers } of mesh.exports)
    for (const name of service === '*' ? services.map((one) => one.name) : [service])
      peersOf.set(name, new Set([...(peersOf.get(name) ?? []), ...peers]));
  return Array.from(peersOf, ([name, peers]) => ({
    name,
    peers: [...peers],
    ...defined({ chain: exportChain(name, mesh) }),
  }));
}

function exportChain(name: string, mesh: Mesh): ExportedService['chain'] {
  const [target, ...failover] = chainOf(name, mesh)?.targets ?? [];
  if (target === undefined) return undefined;
  const protocol = protocolOf(name, mesh);
  return { protocol, target: exportTarget(target), failover: failover.map(exportTarget) };
}

function exportTarget({ service, subset, datacenter, peer }: ChainTarget): ExportTarget {
  return { service, datacenter, ...defined({ subset, peer }) };
}

/**
 * Returns the data that Consul's servers would replicate: the peer's gateways in place of the instances, with the SNI
 * to send and the identities to expect.
 */
function importsOf(name: string, peer: Mesh, knownAs: string): readonly ImportedService[] {
  const catalog = peer.catalogs.get(peer.datacenter);
  const gateways = catalog?.gateways.find(({ datacenter }) => datacenter === peer.datacenter)?.gateways ?? [];
  if (catalog === undefined) return [];
  const services = new Set(
    exportsOf(peer).flatMap((one) =>
      one.peers.includes(knownAs) && hasInstances(one.name, catalog) ? [one.name] : [],
    ),
  );
  return [...services].toSorted().map((service) => {
    const targetIdentities = (chainOf(service, peer)?.targets ?? []).flatMap(({ identities }) => identities);
    const exported = { service, peer: knownAs, protocol: protocolOf(service, peer), targetIdentities };
    return { name: service, peer: name, instances: replicated(exported, gateways, peer) };
  });
}

function hasInstances(service: string, { services }: Pick<Catalog, 'services'>): boolean {
  return services.some(({ name, instances }) => name === service && instances.length > 0);
}

function chainOf(service: string, { datacenter, trustDomain, entries }: Mesh): DiscoveryChain | undefined {
  const compiled = compileChain({ service, datacenter, decision: { kind: 'unset' } }, entries, { trustDomain });
  return compiled.kind === 'refused' ? undefined : compiled.chain;
}

/** Returns the protocol of the service, else that of proxy-defaults, else `tcp`. */
function protocolOf(
  service: string,
  { protocols, entries }: Pick<Mesh, 'protocols'> & { readonly entries: ConfigEntries },
): string {
  const ofProxies = entries.proxyDefaults?.config['protocol'];
  return (protocols.get(service) ?? (typeof ofProxies === 'string' ? ofProxies : '')) || 'tcp';
}

/** Warns of a peer without an export in either direction, usually because one of the two names is wrong. */
function quiet(
  peers: ReadonlyMap<string, Mesh>,
  { exports }: Mesh,
  imports: readonly ImportedService[],
  standpoints: PeerStandpoints,
): readonly string[] {
  const served = new Set([...exports.flatMap((one) => one.peers), ...imports.map(({ peer }) => peer)]);
  return [...peers.keys()]
    .filter((name) => !served.has(name))
    .map(
      (name) =>
        `peer ${name}, which calls this cluster ${standpoints[name]?.knownAs ?? ''}: neither exports a service to the other`,
    );
}

function strangers({ exports }: Mesh, peers: ReadonlyMap<string, Mesh>): readonly string[] {
  const named = new Set(exports.flatMap((one) => one.peers).filter((name) => !peers.has(name)));
  return [...named].map(
    (name) => `exported-services: unknown peer ${name}; peers found: ${[...peers.keys()].join(', ') || 'none'}`,
  );
}
