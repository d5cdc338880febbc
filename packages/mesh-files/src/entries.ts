import { defined } from '@meshgate/core/parts';
import { type Field, type FieldEntry, MAX_TIMER_MS } from '@meshgate/documents';
import { describePermission } from '@meshgate/mesh';
import type {
  Destination,
  Intention,
  MeshSettings,
  MutualTlsMode,
  ProxyDefaults,
  ServiceDefaults,
  ServiceResolver,
  Subset,
  UpstreamSettings,
} from '@meshgate/mesh';
import { parseFilter } from './filter.ts';
import {
  durationMs,
  ignored,
  itemsOf,
  type Keyed,
  namedValues,
  optionalText,
  read,
  readKeys,
  readMode,
  refuseEnterprise,
  requiredName,
  textList,
  weakBoolean,
  weakInteger,
} from './keys.ts';
import { readPassiveHealthCheck } from './passive-health-check.ts';
import { readConfig } from './registration.ts';

/** A configuration entry, in the format of `consul config write`. */
export type ConfigEntry = { readonly field: Field; readonly name: string } & (
  | { readonly kind: 'proxy-defaults'; readonly value: ProxyDefaults }
  | { readonly kind: 'service-defaults'; readonly value: ServiceDefaults; readonly protocol?: string }
  | { readonly kind: 'service-resolver'; readonly value: ServiceResolver }
  | { readonly kind: 'service-intentions'; readonly value: readonly Intention[] }
  | { readonly kind: 'exported-services'; readonly value: readonly WrittenExport[] }
  | { readonly kind: 'mesh'; readonly value: MeshSettings }
);

/** An exported service, and the peers that may import it. */
export interface WrittenExport {
  /** Name of the service; `*` for all services. */
  readonly service: string;
  /** Local names of the peers. */
  readonly peers: readonly string[];
}

/** Readers by kind of entry. */
const READERS: Readonly<Record<ConfigEntry['kind'], (field: Field) => ConfigEntry>> = {
  'proxy-defaults': readProxyDefaults,
  'service-defaults': readServiceDefaults,
  'service-resolver': readResolver,
  'service-intentions': readIntentions,
  'exported-services': readExports,
  mesh: readMeshEntry,
};
const KINDS = Object.keys(READERS) as readonly ConfigEntry['kind'][];

/** All other kinds of entries in Consul, up to 1.22. */
const OTHER_KINDS = [
  'api-gateway',
  'bound-api-gateway',
  'control-plane-request-limit',
  'file-system-certificate',
  'http-route',
  'ingress-gateway',
  'inline-certificate',
  'jwt-provider',
  'sameness-group',
  'service-router',
  'service-splitter',
  'tcp-route',
  'terminating-gateway',
] as const;

/** Keys of every entry; the last ones appear only in Consul's responses. */
const ENTRY_KEYS = {
  ...read('kind', 'name', 'namespace', 'partition'),
  ...ignored('meta', 'create_index', 'modify_index', 'hash', 'status'),
};

/** Reads an entry, a mapping with the key `kind`. Skips an entry of a kind that is not used here, with a warning. */
export function readEntry(field: Field): ConfigEntry | undefined {
  const kind = (field.entries() ?? []).find(({ key }) => key.toLowerCase() === 'kind')?.value;
  const known = kind === undefined ? field.refuse('expected the key "kind", found none') : readKind(kind);
  return known && READERS[known](field);
}

function readKind(kind: Field): ConfigEntry['kind'] | undefined {
  const written = kind.plain();
  const isOther = OTHER_KINDS.some((other) => other === written);
  if (isOther) return kind.warn(`an entry of the kind ${String(written)} has no effect here`);
  return kind.oneOf(KINDS);
}

const PROXY_DEFAULTS_KEYS = {
  ...ENTRY_KEYS,
  ...read('mesh_gateway', 'config', 'mutual_tls_mode'),
  ...ignored('mode', 'transparent_proxy', 'expose', 'access_logs', 'envoy_extensions'),
  ...ignored('failover_policy', 'prioritize_by_locality'),
};

function readProxyDefaults(field: Field): ConfigEntry {
  const fields = readKeys(field, PROXY_DEFAULTS_KEYS);
  refuseEnterprise(fields, 'namespace', 'partition');
  refuseOtherName(fields.get('name'), PROXY_DEFAULTS_NAME, 'proxy-defaults');
  const mode = readMode(fields.get('mesh_gateway'));
  return {
    field,
    kind: 'proxy-defaults',
    name: PROXY_DEFAULTS_NAME,
    value: {
      config: readConfig(fields.get('config')),
      ...defined({ mode, mutualTls: readMutualTls(fields.get('mutual_tls_mode')) }),
    },
  };
}

/** An empty string counts as not set. */
function readMutualTls(field: Field | undefined): MutualTlsMode | undefined {
  return optionalText(field) === undefined ? undefined : field?.oneOf(['strict', 'permissive'] as const);
}

/** The only name of a proxy-defaults entry, and Consul's default. */
const PROXY_DEFAULTS_NAME = 'global';

const SERVICE_DEFAULTS_KEYS = {
  ...ENTRY_KEYS,
  ...read('mesh_gateway', 'upstream_config', 'external_sni', 'protocol', 'mutual_tls_mode'),
  ...ignored('mode', 'transparent_proxy', 'expose', 'destination', 'envoy_extensions'),
  ...ignored('rate_limits', 'max_inbound_connections'),
  ...ignored('local_connect_timeout_ms', 'local_request_timeout_ms', 'balance_inbound_connections'),
};

function readServiceDefaults(field: Field): ConfigEntry {
  const fields = readKeys(field, SERVICE_DEFAULTS_KEYS);
  const upstreams = fields.get('upstream_config');
  const config = upstreams === undefined ? undefined : readKeys(upstreams, read('overrides', 'defaults'));
  const defaults = config?.get('defaults');
  const overrides = itemsOf(config?.get('overrides'));
  const value: ServiceDefaults = {
    upstreamOverrides: overrides.map(readOverride),
    ...defined({
      mode: readMode(fields.get('mesh_gateway')),
      mutualTls: readMutualTls(fields.get('mutual_tls_mode')),
      externalSni: optionalText(fields.get('external_sni'))?.toLowerCase(),
      upstreamDefaults: defaults && upstreamSettings(readKeys(defaults, UPSTREAM_KEYS)),
    }),
  };
  const protocol = optionalText(fields.get('protocol'))?.toLowerCase();
  return { field, kind: 'service-defaults', name: nameOf(field, fields), value, ...defined({ protocol }) };
}

const UPSTREAM_KEYS = {
  ...read('name', 'namespace', 'partition', 'peer', 'mesh_gateway', 'connect_timeout_ms'),
  ...read('limits', 'passive_health_check'),
  ...ignored('protocol', 'envoy_listener_json', 'envoy_cluster_json', 'balance_outbound_connections'),
};

function readOverride(field: Field): ServiceDefaults['upstreamOverrides'][number] {
  const fields = readKeys(field, UPSTREAM_KEYS);
  const peer = optionalText(fields.get('peer'));
  return { name: nameOf(field, fields), ...defined({ peer }), ...upstreamSettings(fields) };
}

function upstreamSettings(fields: Keyed<keyof typeof UPSTREAM_KEYS>): UpstreamSettings {
  const mode = readMode(fields.get('mesh_gateway'));
  const connectTimeoutMs = weakInteger(fields.get('connect_timeout_ms'), MAX_TIMER_MS) || undefined;
  const limits = fields.get('limits');
  const maxConnections = limits && weakInteger(readKeys(limits, LIMITS_KEYS).get('max_connections'), MAX_COUNT);
  const passiveHealthCheck = readPassiveHealthCheck(fields.get('passive_health_check'));
  return defined({ mode, connectTimeoutMs, maxConnections: maxConnections || undefined, passiveHealthCheck });
}

/** The other limits apply to HTTP requests. */
const LIMITS_KEYS = {
  ...read('max_connections'),
  ...ignored('max_pending_requests', 'max_concurrent_requests'),
};
const MAX_COUNT = 2_147_483_647;

const RESOLVER_KEYS = {
  ...ENTRY_KEYS,
  ...read('connect_timeout', 'default_subset', 'subsets', 'redirect', 'failover', 'load_balancer'),
  ...ignored('request_timeout', 'prioritize_by_locality'),
};

function readResolver(field: Field): ConfigEntry {
  const fields = readKeys(field, RESOLVER_KEYS);
  const redirect = fields.get('redirect');
  const subsets = readSubsets(fields.get('subsets'));
  const failover = namedValues(fields.get('failover')).map(
    (entry) => [entry.key, readFailover(entry, subsets)] as const,
  );
  const value: ServiceResolver = {
    subsets,
    failover: new Map(failover),
    ...defined({
      connectTimeoutMs: durationMs(fields.get('connect_timeout')),
      defaultSubset: optionalText(fields.get('default_subset')),
      loadBalancer: readBalance(fields.get('load_balancer')),
      redirect: redirect && readRedirect(redirect, fields),
    }),
  };
  checkDefaultSubset(fields.get('default_subset'), value);
  return { field, kind: 'service-resolver', name: nameOf(field, fields), value };
}

function readSubsets(field: Field | undefined): Readonly<Record<string, Subset>> {
  return Object.fromEntries(namedValues(field).map((entry) => [entry.key, readSubset(entry)]));
}

function readSubset({ key, value: field }: FieldEntry): Subset {
  if (!SUBSET_NAME.test(key))
    field.refuse(`expected a name of lower-case letters, digits and - for a subset, found ${JSON.stringify(key)}`);
  const fields = readKeys(field, read('filter', 'only_passing'));
  const filter = optionalText(fields.get('filter')) ?? '';
  const parsed = parseFilter(filter);
  if (parsed.kind === 'refused') fields.get('filter')?.refuse(parsed.reason);
  return { filter, onlyPassing: weakBoolean(fields.get('only_passing')) ?? false };
}

/** Consul's own rule: the name of a subset becomes a label of the server name. */
const SUBSET_NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

function checkDefaultSubset(field: Field | undefined, { defaultSubset, subsets }: ServiceResolver): void {
  if (defaultSubset === undefined || Object.hasOwn(subsets, defaultSubset)) return;
  field?.refuse(`expected one of the subsets (${namesOf(subsets)}), found ${JSON.stringify(defaultSubset)}`);
}

function namesOf(subsets: ServiceResolver['subsets']): string {
  return Object.keys(subsets).join(', ') || 'none';
}

const DESTINATION_KEYS = {
  ...read('service', 'service_subset', 'namespace', 'partition', 'datacenter', 'peer'),
  ...read('sameness_group'),
};

/** Consul's own rule: a redirected service has no failover of its own. */
function readRedirect(field: Field, beside: Keyed<keyof typeof RESOLVER_KEYS>): Destination | undefined {
  beside.get('failover')?.refuse('expected a redirect alone, found failover beside it');
  const fields = readKeys(field, DESTINATION_KEYS);
  const redirect = readDestination(fields);
  if (redirect === undefined) return undefined;
  if (redirect.subset !== undefined && redirect.service === undefined)
    fields.get('service_subset')?.refuse('expected a service beside the service_subset of a redirect, found none');
  if (Object.keys(redirect).length === 0)
    field.refuse('expected a service or a datacenter to redirect to, found neither of them');
  return redirect;
}

/** Reads a destination; `undefined` when mesh files do not support it. */
function readDestination(fields: ReadonlyMap<string, Field>): Destination | undefined {
  refuseEnterprise(fields, 'namespace', 'partition');
  if (isForeign(fields)) return undefined;
  return defined({
    service: optionalText(fields.get('service')),
    subset: optionalText(fields.get('service_subset')),
    datacenter: optionalText(fields.get('datacenter')),
    peer: optionalText(fields.get('peer')),
  });
}

/** Sameness groups exist only in Consul Enterprise. */
function isForeign(fields: ReadonlyMap<string, Field>): boolean {
  const group = fields.get('sameness_group');
  const isGroup = optionalText(group) !== undefined;
  if (isGroup) group?.warn('this has no effect: mesh files have no sameness groups');
  return isGroup;
}

const FAILOVER_KEYS = {
  ...read('service', 'service_subset', 'namespace', 'sameness_group', 'datacenters', 'targets'),
  ...ignored('policy'),
};

/** Returns one destination per datacenter, one per target, or a single one. */
function readFailover({ key, value: field }: FieldEntry, subsets: ServiceResolver['subsets']): readonly Destination[] {
  if (key !== '*' && !Object.hasOwn(subsets, key))
    field.refuse(`expected failover of * or of one of the subsets (${namesOf(subsets)}), found ${JSON.stringify(key)}`);
  const fields = readKeys(field, FAILOVER_KEYS);
  const leg = readDestination(fields);
  if (leg === undefined) return [];
  const datacenters = textList(fields.get('datacenters'));
  if (datacenters.length > 0) return datacenters.map((datacenter) => ({ ...leg, datacenter }));
  const targets = itemsOf(fields.get('targets'));
  if (targets.length > 0) return targets.flatMap((target) => readDestination(readKeys(target, DESTINATION_KEYS)) ?? []);
  if (Object.keys(leg).length > 0) return [leg];
  field.refuse('expected a service, a service_subset, datacenters or targets to fail over to, found none of them');
  return [];
}

const LOAD_BALANCER_KEYS = {
  ...read('policy'),
  ...ignored('ring_hash_config', 'least_request_config', 'hash_policies'),
};

function readBalance(field: Field | undefined): string | undefined {
  const policy = field && readKeys(field, LOAD_BALANCER_KEYS).get('policy');
  if (policy === undefined || optionalText(policy) === undefined) return undefined;
  return policy.oneOf(['random', 'round_robin', 'least_request', 'ring_hash', 'maglev'] as const);
}

const INTENTIONS_KEYS = { ...ENTRY_KEYS, ...read('sources'), ...ignored('jwt') };

function readIntentions(field: Field): ConfigEntry {
  const fields = readKeys(field, INTENTIONS_KEYS);
  const name = nameOf(field, fields);
  const sources = itemsOf(fields.get('sources'));
  return {
    field,
    kind: 'service-intentions',
    name,
    value: sources.flatMap((source) => readSource(source, name) ?? []),
  };
}

const SOURCE_KEYS = {
  ...read('name', 'namespace', 'partition', 'peer', 'sameness_group', 'action', 'permissions'),
  ...ignored('type', 'description', 'precedence', 'legacy_id', 'legacy_meta', 'legacy_create_time'),
  ...ignored('legacy_update_time'),
};

/**
 * Reads the source of an intention. A mistake never allows a connection: an action that cannot be read denies, and is
 * reported.
 */
function readSource(field: Field, destination: string): Intention | undefined {
  const fields = readKeys(field, SOURCE_KEYS);
  if (isForeign(fields)) return undefined;
  const source = nameOf(field, fields);
  const action = fields.get('action');
  const permissions = itemsOf(fields.get('permissions'));
  const from = defined({ sourcePeer: optionalText(fields.get('peer')) });
  if (permissions.length > 0)
    return { source, destination, ...from, action: 'http', permissions: permissions.map(readPermission) };
  if (action === undefined) field.refuse('expected an "action", found none');
  return { source, destination, ...from, action: action?.oneOf(['allow', 'deny'] as const) ?? 'deny' };
}

const PERMISSION_KEYS = { ...read('action', 'http'), ...ignored('jwt') };
const REQUEST_KEYS = read('path_exact', 'path_prefix', 'path_regex', 'methods', 'header');
const HEADER_KEYS = {
  ...read('name'),
  ...ignored('present', 'exact', 'prefix', 'suffix', 'contains', 'regex', 'invert', 'ignore_case'),
};

/** Describes a permission, since a TCP proxy cannot check any part of it. */
function readPermission(field: Field): string {
  const fields = readKeys(field, PERMISSION_KEYS);
  const http = fields.get('http');
  const request = http && readKeys(http, REQUEST_KEYS);
  const paths = (['path_exact', 'path_prefix', 'path_regex'] as const).map((key) => optionalText(request?.get(key)));
  return describePermission({
    action: optionalText(fields.get('action')) ?? '',
    methods: textList(request?.get('methods')),
    path: paths.find((path) => path !== undefined) ?? '',
    headers: itemsOf(request?.get('header')).map(
      (header) => optionalText(readKeys(header, HEADER_KEYS).get('name')) ?? '',
    ),
  });
}

const EXPORTS_KEYS = { ...ENTRY_KEYS, ...read('services') };
const EXPORT_KEYS = read('name', 'namespace', 'consumers');
/** Consul 1.13 has `peer_name` for `peer`. */
const CONSUMER_KEYS = read('peer', 'peer_name', 'partition', 'sameness_group');

/** Reads the exports. The name of the entry is that of a partition, and mesh files have only one. */
function readExports(field: Field): ConfigEntry {
  const fields = readKeys(field, EXPORTS_KEYS);
  const services = itemsOf(fields.get('services')).map((item): WrittenExport => {
    const keys = readKeys(item, EXPORT_KEYS);
    return { service: nameOf(item, keys), peers: itemsOf(keys.get('consumers')).flatMap(readConsumer) };
  });
  return { field, kind: 'exported-services', name: nameOf(field, fields), value: services };
}

function readConsumer(field: Field): readonly string[] {
  const fields = readKeys(field, CONSUMER_KEYS);
  if (isForeign(fields)) return [];
  const peer = optionalText(fields.get('peer') ?? fields.get('peer_name'));
  if (peer !== undefined) return [peer];
  fields.get('partition')?.warn('this has no effect: mesh files have one partition');
  return [];
}

const MESH_KEYS = {
  ...ENTRY_KEYS,
  ...read('peering', 'tls', 'allow_enabling_permissive_mutual_tls'),
  ...ignored('transparent_proxy', 'http', 'validate_clusters'),
};

/** Reads the only mesh entry of a cluster. Consul fills in its name. */
function readMeshEntry(field: Field): ConfigEntry {
  const fields = readKeys(field, MESH_KEYS);
  refuseEnterprise(fields, 'namespace', 'partition');
  refuseOtherName(fields.get('name'), MESH_NAME, 'this kind');
  fields.get('tls')?.warn('this has no effect in mesh files: TLS 1.2 or newer, forward secrecy');
  const peering = fields.get('peering');
  const through = peering && readKeys(peering, read('peer_through_mesh_gateways')).get('peer_through_mesh_gateways');
  const value = {
    peersThroughGateways: weakBoolean(through) ?? false,
    allowsPermissiveTls: weakBoolean(fields.get('allow_enabling_permissive_mutual_tls')) ?? false,
  };
  return { field, kind: 'mesh', name: MESH_NAME, value };
}

const MESH_NAME = 'mesh';

/** Rejects other names for kinds with a single entry per cluster. */
function refuseOtherName(name: Field | undefined, only: string, kind: string): void {
  const written = optionalText(name) ?? only;
  if (written !== only) name?.refuse(`expected ${only}, the only name of ${kind}, found ${JSON.stringify(written)}`);
}

function nameOf(field: Field, fields: ReadonlyMap<string, Field>): string {
  refuseEnterprise(fields, 'namespace', 'partition');
  return requiredName(field, fields.get('name'));
}
