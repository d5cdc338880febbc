import { formatEndpoint } from '@meshgate/core';
import type { Endpoint, KeepAlive, ListenAddress } from '@meshgate/core';
import { defined } from '@meshgate/core/parts';
import { withoutBrackets } from './address.ts';
import type { Instance } from './catalog.ts';
import { compare } from './order.ts';
import type { RoutingGateway } from './derived-routes.ts';

/** Listen addresses and route settings from a mesh gateway's registration. */
export interface GatewayDefinition extends RoutingGateway {
  /** Sorted by name; every address is unique. */
  readonly listeners: readonly ListenAddress[];
  /** One sentence for each opaque setting that is invalid; its default applies. */
  readonly problems: readonly string[];
}

/** A registration, with central settings merged into `config`. */
export interface GatewayRegistration extends Pick<Instance, 'address' | 'port' | 'taggedAddresses' | 'meta'> {
  /** Opaque settings (`Proxy.Config`). */
  readonly config: Readonly<Record<string, unknown>>;
}

/**
 * Reads a mesh gateway's registration as Consul's own gateways do: `Proxy.Config` is weakly typed (`"8443"` for a
 * number, `"true"` for a boolean, a list of one for its element), and keys of other proxies are ignored.
 *
 * @param anyAddress host to listen on when the registration has no address: `0.0.0.0` with Consul
 */
export function gatewayDefinition(registration: GatewayRegistration, anyAddress: string): GatewayDefinition {
  const problems: string[] = [];
  const config = weakReader(registration.config, problems);
  const connectTimeoutMs = config.number('connect_timeout_ms') ?? 0;
  return {
    listeners: listenersOf(registration, config, anyAddress),
    wanFederation: registration.meta['consul-wan-federation'] === '1',
    ...defined({ connectTimeoutMs: connectTimeoutMs < 1 ? undefined : connectTimeoutMs }),
    ...defined({ remoteKeepAlive: keepAliveOf(config) }),
    problems,
  };
}

function listenersOf(registration: GatewayRegistration, config: WeakReader, any: string): readonly ListenAddress[] {
  const { address, port } = registration;
  const bound = [
    ...(config.boolean('no_default_bind') ? [] : [{ name: 'default', endpoint: { host: address || any, port } }]),
    ...(config.boolean('bind_tagged_addresses') ? addressesOf(registration) : []),
    ...config.addresses('bind_addresses'),
  ];
  const advertised = advertisedOf(registration);
  const names = new Set<string>();
  const locations = new Set<string>();
  return bound
    .map(({ name, endpoint: { host, port: at } }) => ({ name, endpoint: { host: bindHost(host), port: at } }))
    .toSorted((one, other) => compare(one.name, other.name))
    .flatMap(({ name, endpoint }) => {
      const location = formatEndpoint(endpoint);
      if (locations.has(location)) return [];
      locations.add(location);
      // Consul allows a bind address named like a tagged address, or `default`, and listens on both.
      const unique = names.has(name) ? `${name}:${location}` : name;
      names.add(name);
      return [{ name: unique, endpoint, ...defined({ advertised: advertised.length === 0 ? undefined : advertised }) }];
    });
}

/**
 * Turns `localhost` into `127.0.0.1`, since a listener needs an address (RFC 6761, section 6.3: the name always means
 * loopback).
 */
function bindHost(host: string): string {
  return host.toLowerCase() === 'localhost' ? '127.0.0.1' : withoutBrackets(host);
}

function addressesOf({ taggedAddresses, port: own }: GatewayRegistration): readonly ListenAddress[] {
  const tagged = Object.entries(taggedAddresses).filter(([, { address }]) => address !== '');
  return tagged.map(([name, { address, port }]) => ({ name, endpoint: { host: address, port: port || own } }));
}

/**
 * Returns the `wan` address, which NAT may translate. When it is not set, the agent reports the service's own address.
 */
function advertisedOf(registration: GatewayRegistration): readonly Endpoint[] {
  return addressesOf(registration)
    .filter(({ name, endpoint }) => name === 'wan' && endpoint.host !== registration.address)
    .map(({ endpoint }) => endpoint);
}

/** Returns `undefined` without an address or a port to listen on. */
function endpointOf(value: unknown): Endpoint | undefined {
  const fields = foldedFields(value);
  const host = unwrapped(fields.get('address')?.value);
  const port = weakNumber(unwrapped(fields.get('port')?.value)) ?? 0;
  return typeof host !== 'string' || host === '' || port < 1 || port > MAX_PORT ? undefined : { host, port };
}

const MAX_PORT = 65_535;

// Well below the 350 s after which cloud load balancers drop an idle connection.
const DEFAULT_KEEPALIVE_IDLE_MS = 60_000;

function keepAliveOf(config: WeakReader): KeepAlive | undefined {
  if (!config.boolean('remote_tcp_enable_keepalive')) return undefined;
  const [idle, interval, probes] = ['time', 'interval', 'probes'].map((key) =>
    config.number(`remote_tcp_keepalive_${key}`),
  );
  return {
    idleMs: idle ? idle * 1_000 : DEFAULT_KEEPALIVE_IDLE_MS,
    ...(interval ? { intervalMs: interval * 1_000 } : {}),
    ...(probes ? { probes } : {}),
  };
}

type OpaqueSettings = Readonly<Record<string, unknown>>;

/** Reads a map with loosely typed values and keys in any case. `name` is the key without Consul's prefix. */
interface WeakReader {
  boolean(name: string): boolean;
  number(name: string): number | undefined;
  addresses(name: string): readonly ListenAddress[];
}

/** Prefixes of a gateway's keys: the current one, Consul 1.7's, and none for all other keys. */
const PREFIXES = ['envoy_gateway_', 'envoy_mesh_gateway_', ''];

function weakReader(config: OpaqueSettings, problems: string[]): WeakReader {
  const fields = foldedFields(config);
  return { boolean: (name) => read(name, 'a boolean', booleanOf) ?? false, number, addresses };

  function number(name: string): number | undefined {
    return read(name, 'a number', weakNumber);
  }

  function addresses(name: string): readonly ListenAddress[] {
    const values = read(name, 'addresses by name', (value) => (isObject(value) ? value : undefined)) ?? {};
    return Object.entries(values).flatMap(([label, value]) => {
      const endpoint = endpointOf(unwrapped(value));
      if (endpoint === undefined) complain(`${find(name)?.key}.${label}`, 'an Address and a Port', value);
      return endpoint === undefined ? [] : [{ name: label, endpoint }];
    });
  }

  function read<T>(name: string, expected: string, turn: (value: unknown) => T | undefined): T | undefined {
    const field = find(name);
    if (field === undefined) return undefined;
    const value = turn(unwrapped(field.value));
    if (value === undefined) complain(field.key, expected, field.value);
    return value;
  }

  function find(name: string): ConfigField | undefined {
    return PREFIXES.map((prefix) => fields.get(prefix + name)).find((field) => field !== undefined);
  }

  function complain(key: string, expected: string, found: unknown): void {
    problems.push(`Proxy.Config.${key}: expected ${expected}, found ${JSON.stringify(found)}`);
  }
}

interface ConfigField {
  readonly key: string;
  readonly value: unknown;
}

/**
 * Returns the set fields of an object by lower-case key, since Consul's decoder ignores the case of keys. `null` counts
 * as not set.
 */
function foldedFields(value: unknown): ReadonlyMap<string, ConfigField> {
  const fields = Object.entries(isObject(value) ? value : {}).filter(([, field]) => field !== null);
  return new Map(fields.map(([key, field]) => [key.toLowerCase(), { key, value: field }]));
}

function isObject(value: unknown): value is OpaqueSettings {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Returns the element of a list of one: Consul's configuration language turns a single block into such a list. */
function unwrapped(value: unknown): unknown {
  return Array.isArray(value) && value.length === 1 ? (value[0] as unknown) : value;
}

function booleanOf(value: unknown): boolean | undefined {
  if (typeof value === 'boolean') return value;
  if (typeof value === 'number') return value !== 0;
  if (typeof value !== 'string') return undefined;
  if (/^(?:1|t|true)$/i.test(value)) return true;
  return /^(?:|0|f|false)$/i.test(value) ? false : undefined;
}

/** Reads `1500` or `"1500"` as an integer: Consul's configuration language turns some numbers into strings. */
export function weakNumber(value: unknown): number | undefined {
  const read = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  return typeof read === 'number' && Number.isFinite(read) ? Math.trunc(read) : undefined;
}
