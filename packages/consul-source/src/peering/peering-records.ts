// Converts Consul's JSON about cluster peering to catalog records. Field names are those of Consul's HTTP API.
import { defined } from '@meshgate/core/parts';
import type { ExportChain, ExportTarget, ImportedService, ClusterPeer } from '@meshgate/mesh';
import { list, number, object, objects, optionalText, text } from '../json.ts';
import type { JsonObject } from '../json.ts';
import { instancesOf } from '../records.ts';

/** Parses an element of `/v1/peerings`, or `/v1/peering/NAME`; `undefined` when it is not a peering. */
export function peerOf(json: unknown): ClusterPeer | undefined {
  const peering = object(json);
  const name = text(peering?.['Name']);
  if (peering === undefined || name === '') return undefined;
  const deletedAt = text(peering['DeletedAt']);
  return {
    name,
    state: text(peering['State']),
    // Older releases write the zero time when `DeletedAt` is not set.
    isDeleted: (deletedAt !== '' && !deletedAt.startsWith('0001-01-01')) || text(peering['State']) === 'DELETING',
    ...defined({
      datacenter: optionalText(object(peering['Remote'])?.['Datacenter']),
      serverName: optionalText(peering['PeerServerName']),
    }),
    serverAddresses: list(peering['PeerServerAddresses']).map(text),
    roots: list(peering['PeerCAPems']).map(text),
    modifyIndex: number(peering['ModifyIndex']),
  };
}

/** Parses `/v1/peerings`; `undefined` when it is not a list of peerings. */
export function peersOf(json: unknown): readonly ClusterPeer[] | undefined {
  if (!Array.isArray(json)) return undefined;
  const peers = json.map(peerOf).filter((peer) => peer !== undefined);
  return peers.length === json.length ? peers : undefined;
}

/** Parses `/v1/internal/ui/exported-services?peer=NAME`: the services exported to one peer. */
export function exportedNamesOf(json: unknown): readonly ExportedName[] | undefined {
  if (!Array.isArray(json)) return undefined;
  return objects(json).map((service) => exportedName(service));
}

/** The name of an exported service. */
export interface ExportedName {
  readonly name: string;
  /** `''` for the default namespace. */
  readonly namespace: string;
}

function exportedName(service: JsonObject): ExportedName {
  return { name: text(service['Name']), namespace: text(service['Namespace']) };
}

/** Parses `/v1/exported-services` (Consul 1.17.3 and later): the exports to `peer`, with wildcards expanded. */
export function exportsTo(json: unknown, peer: string): readonly ExportedName[] | undefined {
  if (!Array.isArray(json)) return undefined;
  const isFor = (service: JsonObject): boolean => list(object(service['Consumers'])?.['Peers']).includes(peer);
  return objects(json)
    .filter(isFor)
    .map((service) => ({ name: text(service['Service']), namespace: text(service['Namespace']) }));
}

/**
 * Parses the list of `exported-services` entries: the exports to `peer`. Leaves wildcards to the caller, which knows
 * all services.
 */
export function exportsInEntries(json: unknown, peer: string): readonly ExportedName[] | undefined {
  if (!Array.isArray(json)) return undefined;
  const services = objects(json).flatMap((entry) => objects(entry['Services']));
  const isFor = (consumer: JsonObject): boolean =>
    text(consumer['Peer']) === peer || text(consumer['PeerName']) === peer;
  return services.filter((service) => objects(service['Consumers']).some(isFor)).map(exportedName);
}

/** Parses `/v1/discovery-chain/SERVICE`, reduced to the fields that a gateway needs for an exported service. */
export function exportChainOf(json: unknown): ExportChain | undefined {
  const chain = object(object(json)?.['Chain']);
  if (chain === undefined) return undefined;
  const protocol = text(chain['Protocol']) || 'tcp';
  const start = object(object(chain['Nodes'])?.[text(chain['StartNode'])]);
  const resolver = object(start?.['Resolver']);
  const targetAt = (id: unknown): ExportTarget | undefined => exportTargetOf(object(chain['Targets'])?.[text(id)]);
  const target = targetAt(resolver?.['Target']);
  if (target === undefined) return { protocol };
  const failover = list(object(resolver?.['Failover'])?.['Targets']).flatMap((id) => targetAt(id) ?? []);
  return { protocol, target, ...(failover.length === 0 ? {} : { failover }) };
}

function exportTargetOf(json: unknown): ExportTarget | undefined {
  const target = object(json);
  if (target === undefined) return undefined;
  return {
    service: text(target['Service']),
    datacenter: text(target['Datacenter']),
    ...defined({
      subset: optionalText(target['ServiceSubset']),
      namespace: optionalText(target['Namespace']),
      partition: optionalText(target['Partition']),
      peer: optionalText(target['Peer']),
    }),
  };
}

/**
 * Returns the services that a node of `/v1/internal/ui/nodes` imports from a peer; each instance represents a gateway
 * of that peer.
 */
export function importsOn(node: JsonObject): readonly ImportedService[] {
  const peer = text(node['PeerName']);
  if (peer === '') return [];
  const checks = objects(node['Checks']);
  return objects(node['Services']).flatMap((service) => {
    const name = text(object(service['Proxy'])?.['DestinationServiceName']) || text(service['Service']);
    const id = text(service['ID']);
    const own = checks.filter((check) => text(check['ServiceID']) === '' || text(check['ServiceID']) === id);
    const instances = instancesOf([{ Node: node, Service: service, Checks: own }]) ?? [];
    return instances.some(({ peerMeta }) => peerMeta !== undefined) ? [{ name, peer, instances }] : [];
  });
}

/** Returns the {@link importKey} of every service on a peer's node, whatever its kind. */
export function importedNamesOn(node: JsonObject): readonly string[] {
  const peer = text(node['PeerName']);
  return objects(node['Services']).map((service) => importKey({ peer, name: text(service['Service']) }));
}

/**
 * Merges imports of the same service from several nodes.
 *
 * @param names all imported names, see {@link importedNamesOn}
 */
export function joinedImports(
  parts: readonly ImportedService[],
  names: ReadonlySet<string>,
): readonly ImportedService[] {
  const services = new Map<string, ImportedService>();
  for (const part of parts) {
    const key = importKey(part);
    const known = services.get(key)?.instances ?? [];
    const proxiesOnly = names.has(key) ? {} : { proxiesOnly: true };
    services.set(key, { ...part, instances: [...known, ...part.instances], ...proxiesOnly });
  }
  return [...services.values()];
}

function importKey({ peer, name }: Pick<ImportedService, 'peer' | 'name'>): string {
  return `${peer}/${name}`;
}
