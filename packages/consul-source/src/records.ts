// Converts Consul's JSON to catalog records. Field names are those of Consul's HTTP API.
import { defined } from '@meshgate/core/parts';
import { MAX_TIMER_MS } from '@meshgate/documents';
import { goDurationMs } from '@meshgate/mesh';
import type {
  Check,
  CheckStatus,
  GatewayGroup,
  Instance,
  MeshSettings,
  PeerMeta,
  GatewayResolver,
  TaggedAddress,
} from '@meshgate/mesh';
import type { ResponseFormat } from './agent.ts';
import { list, mapped, number, object, objects, optionalText, text, strings } from './json.ts';
import type { JsonObject } from './json.ts';

/** Parses an element of a health response (a CheckServiceNode); `undefined` when it lacks a node or a service. */
function instanceOf(value: unknown): Instance | undefined {
  const node = object(object(value)?.['Node']);
  const service = object(object(value)?.['Service']);
  if (node === undefined || service === undefined) return undefined;
  const weights = object(service['Weights']);
  return {
    id: text(service['ID']) || text(service['Service']),
    service: text(service['Service']),
    kind: text(service['Kind']),
    node: text(node['Node']),
    nodeAddress: text(node['Address']),
    nodeTaggedAddresses: strings(node['TaggedAddresses']),
    address: text(service['Address']),
    port: number(service['Port']),
    taggedAddresses: taggedAddressesOf(service['TaggedAddresses']),
    ...(weights === undefined
      ? {}
      : { weights: { passing: number(weights['Passing']), warning: number(weights['Warning']) } }),
    meta: strings(service['Meta']),
    modifyIndex: number(service['ModifyIndex']),
    checks: objects(object(value)?.['Checks']).map(checkOf),
    ...peerMetaOf(object(service['Connect'])?.['PeerMeta']),
  };
}

/** Returns none without a server name: the service is outside the mesh, replicated by its peer for DNS. */
function peerMetaOf(json: unknown): { readonly peerMeta?: PeerMeta } {
  const serverNames = list(object(json)?.['SNI']).map(text).filter(Boolean);
  if (serverNames.length === 0) return {};
  const identities = list(object(json)?.['SpiffeID']).map(text).filter(Boolean);
  return { peerMeta: { serverNames, identities, protocol: text(object(json)?.['Protocol']) || 'tcp' } };
}

/** Parses the tagged addresses of a registration. */
export function taggedAddressesOf(json: unknown): Readonly<Record<string, TaggedAddress>> {
  return mapped(json, (tagged) => ({
    address: text(object(tagged)?.['Address']),
    port: number(object(tagged)?.['Port']),
  }));
}

/** Parses a health response; `undefined` when it is not a list of instances. */
export function instancesOf(json: unknown): readonly Instance[] | undefined {
  if (!Array.isArray(json)) return undefined;
  const instances = json.map(instanceOf).filter((instance) => instance !== undefined);
  return instances.length === json.length ? instances : undefined;
}

/** Format of a health response. */
export const INSTANCES: Pick<ResponseFormat<readonly Instance[]>, 'expected' | 'read'> = {
  expected: 'a list of instances',
  read: instancesOf,
};

/** Returns the datacenter of the first node in a health response; `''` for an empty response. */
export function datacenterOf(json: unknown): string {
  return text(object(objects(json)[0]?.['Node'])?.['Datacenter']);
}

/** Parses the response of `internal/federation-states/mesh-gateways`: gateways by datacenter. */
export function gatewayGroupsOf(json: unknown): readonly GatewayGroup[] | undefined {
  const byDatacenter = object(json);
  if (byDatacenter === undefined) return undefined;
  return Object.entries(byDatacenter).map(([datacenter, gateways]) => ({
    datacenter,
    gateways: instancesOf(gateways) ?? [],
  }));
}

/** Returns the service-resolvers in a list of entries, by {@link serviceKey}. */
export function resolversOf(entries: readonly JsonObject[]): ReadonlyMap<string, GatewayResolver> {
  return new Map(
    entries.map((entry) => [serviceKey(text(entry['Name']), text(entry['Namespace'])), resolverOf(entry)]),
  );
}

/** Parses the entry `mesh`, reduced to the settings that matter for TCP through gateways. */
export function meshSettingsOf(entry: JsonObject): MeshSettings {
  return {
    peersThroughGateways: object(entry['Peering'])?.['PeerThroughMeshGateways'] === true,
    allowsPermissiveTls: entry['AllowEnablingPermissiveMutualTLS'] === true,
  };
}

/** The service name of Consul's servers. */
export const CONSUL = 'consul';

/** Returns the key of a service, since names are unique only within a namespace. */
export function serviceKey(service: string, namespace: string): string {
  return `${namespace || 'default'}/${service}`;
}

/**
 * Parses a duration in Go's notation (`1m30s`, `250ms`) or in nanoseconds. Returns milliseconds; `undefined` for other
 * values.
 */
export function durationMs(value: unknown): number | undefined {
  const ms = typeof value === 'number' ? value / NANOSECONDS_PER_MS : goDurationMs(text(value));
  return ms === undefined || ms < 0 ? undefined : Math.min(ms, MAX_TIMER_MS);
}

const NANOSECONDS_PER_MS = 1_000_000;

function resolverOf(entry: JsonObject): GatewayResolver {
  const timeoutMs = Math.round(durationMs(entry['ConnectTimeout']) ?? 0);
  return {
    ...defined({
      connectTimeoutMs: timeoutMs > 0 ? timeoutMs : undefined,
      defaultSubset: optionalText(entry['DefaultSubset']),
      loadBalancer: optionalText(object(entry['LoadBalancer'])?.['Policy']),
    }),
    subsets: mapped(entry['Subsets'], (subset) => ({
      filter: text(object(subset)?.['Filter']),
      onlyPassing: object(subset)?.['OnlyPassing'] === true,
    })),
  };
}

function checkOf(check: JsonObject): Check {
  return { id: text(check['CheckID']), status: statusOf(check['Status']) };
}

function statusOf(status: unknown): CheckStatus {
  const known: readonly CheckStatus[] = ['passing', 'warning', 'critical', 'maintenance'];
  return known.find((one) => one === status) ?? 'unknown';
}
