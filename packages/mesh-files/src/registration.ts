import type { Endpoint } from '@meshgate/core';
import { defined } from '@meshgate/core/parts';
import type { Field } from '@meshgate/documents';
import type { TaggedAddress, UpstreamDefinition, WrittenMode } from '@meshgate/mesh';
import { readChecks, type WrittenCheck } from './checks.ts';
import {
  ignored,
  type Keyed,
  namedValues,
  optionalText,
  read,
  readKeys,
  readMode,
  readTags,
  refuseEnterprise,
  requiredName,
  strings,
  weakInteger,
} from './keys.ts';
import { readUpstreams } from './upstreams.ts';

/** A service definition with defaults filled in: what `consul services register` would register. */
export interface ServiceDefinition {
  /** The field of the definition, for problems that depend on other definitions. */
  readonly field: Field;
  readonly id: string;
  readonly name: string;
  readonly kind: ServiceKind;
  /** Empty when not set. */
  readonly address: string;
  /** 0 when not set. */
  readonly port: number;
  readonly taggedAddresses: Readonly<Record<string, TaggedAddress>>;
  readonly meta: Readonly<Record<string, string>>;
  readonly tags: readonly string[];
  readonly weights?: { readonly passing: number; readonly warning: number };
  readonly checks: readonly WrittenCheck[];
  /** Id of the service whose checks also apply to this one: a sidecar without checks is as healthy as its service. */
  readonly healthOf?: string;
  /** The application supports Connect natively. */
  readonly native: boolean;
  /** Present for proxies and gateways. */
  readonly proxy?: ProxyFields;
}

/** Kinds of services in use here. */
type ServiceKind = '' | 'connect-proxy' | 'mesh-gateway';

/** All kinds of services in Consul; those after the second are skipped. */
export const SERVICE_KINDS = [
  'connect-proxy',
  'mesh-gateway',
  'terminating-gateway',
  'ingress-gateway',
  'api-gateway',
] as const;

/** The `proxy` block of a definition. */
interface ProxyFields {
  /** Service behind the proxy; empty for a gateway. */
  readonly destination: string;
  readonly destinationId?: string;
  readonly application: Endpoint;
  /** Listen address from `config`, which the definition's address and port complete. */
  readonly bind: Partial<Endpoint>;
  readonly upstreams: readonly UpstreamDefinition[];
  readonly mode?: WrittenMode;
  readonly config: Readonly<Record<string, unknown>>;
}

/** Keys of a service definition. Those for agents or HTTP have no effect here. */
const SERVICE_KEYS = {
  ...read('id', 'name', 'kind', 'address', 'port', 'tagged_addresses', 'meta', 'tags', 'weights'),
  ...read('check', 'checks', 'proxy', 'connect', 'namespace', 'partition'),
  ...ignored('socket_path', 'token', 'enable_tag_override', 'locality', 'ports'),
};

const PROXY_KEYS = {
  ...read('destination_service_name', 'destination_service_id', 'local_service_address'),
  ...read('local_service_port', 'local_service_socket_path', 'upstreams', 'mesh_gateway', 'config'),
  ...ignored('mode', 'transparent_proxy', 'mutual_tls_mode', 'expose', 'access_logs', 'envoy_extensions'),
};

type ServiceFields = Keyed<keyof typeof SERVICE_KEYS>;

/** Reads one definition: the service itself and, if requested, its sidecar. */
export function readService(field: Field): readonly ServiceDefinition[] {
  const fields = readKeys(field, SERVICE_KEYS);
  if (isPassedOver(fields.get('kind'))) return [];
  refuseEnterprise(fields, 'namespace', 'partition');
  const name = requiredName(field, fields.get('name'));
  const connect = readConnect(fields.get('connect'));
  const service = registrationOf(field, fields, { name, id: name });
  const own = { ...service, native: connect.native };
  if (connect.native && service.kind !== '')
    fields
      .get('connect')
      ?.refuse(`expected no "native" in a ${service.kind}, found it: only an application can be native`);
  return connect.sidecar === undefined ? [own] : [own, sidecarOf(own, connect.sidecar)];
}

/** Whether a kind is known to Consul, but not used here. */
function isPassedOver(kind: Field | undefined): boolean {
  const written = kind?.plain();
  const isKnown = SERVICE_KINDS.slice(KINDS.length).some((one) => one === written);
  if (isKnown) kind?.warn(`a service of the kind ${String(written)} has no effect here`);
  return isKnown;
}

interface Connect {
  readonly native: boolean;
  readonly sidecar?: Field;
}

function readConnect(field: Field | undefined): Connect {
  if (field === undefined) return { native: false };
  const fields = readKeys(field, read('native', 'sidecar_service'));
  return {
    native: fields.get('native')?.boolean() ?? false,
    ...defined({ sidecar: fields.get('sidecar_service') }),
  };
}

/**
 * Builds a sidecar with Consul's defaults, except for the address, which is the service's: mesh files do not have
 * nodes.
 */
function sidecarOf(service: ServiceDefinition, field: Field): ServiceDefinition {
  const fields = readKeys(field, SERVICE_KEYS);
  refuseEnterprise(fields, 'namespace', 'partition');
  if (readConnect(fields.get('connect')).sidecar !== undefined)
    fields.get('connect')?.refuse('expected no sidecar of a sidecar, found one');
  const named = { name: `${service.name}-sidecar-proxy`, id: `${service.id}-sidecar-proxy` };
  const own = registrationOf(field, fields, named, service);
  return {
    ...own,
    kind: 'connect-proxy',
    address: own.address || service.address,
    meta: fields.has('meta') ? own.meta : service.meta,
    tags: fields.has('tags') ? own.tags : service.tags,
    ...(fields.has('check') || fields.has('checks') ? {} : { healthOf: service.id, checks: service.checks }),
  };
}

/** @param parent the service behind this sidecar */
function registrationOf(
  field: Field,
  fields: ServiceFields,
  named: { readonly name: string; readonly id: string },
  parent?: ServiceDefinition,
): ServiceDefinition {
  const name = (parent && optionalText(fields.get('name'))) ?? named.name;
  const id = optionalText(fields.get('id')) ?? (parent === undefined ? name : named.id);
  const proxy = parent === undefined && !fields.has('proxy') ? undefined : readProxy(fields.get('proxy'), parent);
  const registration: ServiceDefinition = {
    field,
    id,
    name,
    kind: readKind(fields, proxy, parent === undefined ? KINDS : SIDECAR_KINDS),
    address: optionalText(fields.get('address')) ?? '',
    port: fields.get('port')?.integer(0, MAX_PORT) ?? 0,
    taggedAddresses: readTaggedAddresses(fields.get('tagged_addresses')),
    meta: strings(fields.get('meta')),
    tags: readTags(fields.get('tags')),
    checks: readChecks([fields.get('check'), fields.get('checks')], id),
    native: false,
    ...defined({ weights: readWeights(fields.get('weights')), proxy }),
  };
  if (parent === undefined) checkProxy(registration);
  return registration;
}

const MAX_PORT = 65_535;

/**
 * Reads the kind. A definition is a proxy by its kind or, as in the first versions of Consul, by its destination
 * service.
 */
function readKind(fields: ServiceFields, proxy: ProxyFields | undefined, kinds: readonly ServiceKind[]): ServiceKind {
  const kind = fields.get('kind');
  const written = optionalText(kind);
  if (kind === undefined || written === undefined) return proxy?.destination ? 'connect-proxy' : '';
  return kind.oneOf(kinds) ?? '';
}

const KINDS = ['connect-proxy', 'mesh-gateway'] as const;
const SIDECAR_KINDS = ['connect-proxy'] as const;

/** Applies Consul's own rules for the registration of a proxy. */
function checkProxy({ field, kind, port, proxy }: ServiceDefinition): void {
  if (kind === 'connect-proxy' && !proxy?.destination)
    field.refuse('expected the key "proxy.destination_service_name" in a connect-proxy, found none');
  if (kind !== '' && port === 0) field.refuse(`expected the key "port" in a ${kind}, found none`);
  if (kind === 'mesh-gateway' && proxy !== undefined && (proxy.destination !== '' || proxy.upstreams.length > 0))
    field.refuse('expected a mesh-gateway without a destination and upstreams, found one that has them');
}

function readProxy(field: Field | undefined, parent: ServiceDefinition | undefined): ProxyFields {
  const fields: Keyed<keyof typeof PROXY_KEYS> = field === undefined ? new Map() : readKeys(field, PROXY_KEYS);
  return {
    destination: optionalText(fields.get('destination_service_name')) ?? parent?.name ?? '',
    application: readApplication(fields, parent?.port ?? 0),
    bind: readBind(fields.get('config')),
    upstreams: readUpstreams(fields.get('upstreams')),
    ...defined({
      destinationId: optionalText(fields.get('destination_service_id')) ?? parent?.id,
      mode: readMode(fields.get('mesh_gateway')),
    }),
    config: readConfig(fields.get('config')),
  };
}

/** Default address of the application: the same host. */
const LOOPBACK = '127.0.0.1';

function readApplication(fields: Keyed<keyof typeof PROXY_KEYS>, defaultPort: number): Endpoint {
  const socket = optionalText(fields.get('local_service_socket_path'));
  if (socket !== undefined) return { host: `unix:${socket}`, port: 0 };
  const host = optionalText(fields.get('local_service_address')) ?? LOOPBACK;
  return { host, port: fields.get('local_service_port')?.integer(0, MAX_PORT) || defaultPort };
}

function readBind(config: Field | undefined): Partial<Endpoint> {
  const settings = new Map(namedValues(config).map(({ key, value }) => [key, value]));
  const host = optionalText(settings.get('bind_address'));
  return defined({ host, port: weakInteger(settings.get('bind_port'), MAX_PORT) || undefined });
}

/** Reads opaque settings. Merges several blocks into one mapping. */
export function readConfig(field: Field | undefined): Readonly<Record<string, unknown>> {
  return Object.fromEntries(namedValues(field).map(({ key, value }) => [key, value.plain()]));
}

function readWeights(field: Field | undefined): ServiceDefinition['weights'] {
  if (field === undefined) return undefined;
  const fields = readKeys(field, read('passing', 'warning'));
  const weight = (key: 'passing' | 'warning', min: number): number => fields.get(key)?.integer(min, MAX_WEIGHT) ?? 1;
  return { passing: weight('passing', 1), warning: weight('warning', 0) };
}

/** Consul's own limits. */
const MAX_WEIGHT = 65_535;

function readTaggedAddresses(field: Field | undefined): Readonly<Record<string, TaggedAddress>> {
  return Object.fromEntries(namedValues(field).map(({ key, value }) => [key, readTaggedAddress(value)]));
}

function readTaggedAddress(field: Field): TaggedAddress {
  if (field.shape === 'scalar') return { address: field.text() ?? '' };
  const fields = readKeys(field, read('address', 'port'));
  return { address: fields.get('address')?.string() ?? '', port: fields.get('port')?.integer(0, MAX_PORT) ?? 0 };
}
