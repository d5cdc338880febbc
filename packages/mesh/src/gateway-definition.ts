import type { Endpoint, KeepAlive, ListenAddress } from '@meshgate/core';
import type { Instance } from './catalog.ts';
import { defined } from './defined.ts';
import type { Gateway } from './routes.ts';

/** What a mesh gateway lives by, out of its registration: where it listens, and how its routes are derived. */
export interface GatewayDefinition extends Gateway {
  /** By name; no address twice. */
  readonly listeners: readonly ListenAddress[];
  /** What could not be made out in the opaque settings, one sentence each: the default is then used. */
  readonly problems: readonly string[];
}

/** The registration, with `config` as it is after central settings were merged in. */
export interface GatewayRegistration extends Pick<Instance, 'address' | 'port' | 'taggedAddresses' | 'meta'> {
  readonly config: Readonly<Record<string, unknown>>;
}

/**
 * Reads a mesh gateway's registration as Consul's own gateways do: `Proxy.Config` weakly (`"8443"` for a number, `"true"` for a
 * boolean, a list of one for its element), keys of other proxies passed over.
 *
 * @param anyAddress what an empty address stands for: `0.0.0.0` with Consul
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
  const { address, port, taggedAddresses } = registration;
  const bound = {
    ...(config.boolean('no_default_bind') ? {} : { default: { host: address || any, port } }),
    ...(config.boolean('bind_tagged_addresses') ? endpointsOf({ ...taggedAddresses }) : {}),
    ...endpointsOf(config.fields('bind_addresses')),
  };
  const byName = Object.entries(bound).toSorted(([one], [other]) => (one < other ? -1 : 1));
  const taken = new Set<string>();
  return byName.flatMap(([name, endpoint]) => {
    const place = `${endpoint.host} ${endpoint.port}`;
    if (taken.has(place)) return [];
    taken.add(place);
    return [{ name, endpoint }];
  });
}

function endpointsOf(values: JsonObject): Readonly<Record<string, Endpoint>> {
  const entries = Object.entries(values).map(([name, value]) => [name, endpointOf(unwrapped(value))] as const);
  return Object.fromEntries(entries.filter((entry): entry is [string, Endpoint] => entry[1] !== undefined));
}

function endpointOf(value: unknown): Endpoint | undefined {
  const fields = isObject(value) ? value : {};
  const host = fields['Address'] ?? fields['address'];
  const port = Number(fields['Port'] ?? fields['port']);
  return typeof host !== 'string' || host === '' || !Number.isInteger(port) ? undefined : { host, port };
}

// Well below the 350 s after which cloud load balancers forget a silent connection.
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

type JsonObject = Readonly<Record<string, unknown>>;

/** Fields of a map whose values may be of the wrong type. Names are without the prefix that Consul gives them. */
interface WeakReader {
  boolean(name: string): boolean;
  number(name: string): number | undefined;
  fields(name: string): JsonObject;
}

/** The present spelling of a gateway's keys and that of Consul 1.7; other keys have no prefix. */
const PREFIXES = ['envoy_gateway_', 'envoy_mesh_gateway_', ''];

function weakReader(config: JsonObject, problems: string[]): WeakReader {
  return {
    boolean: (name) => read(name, 'a boolean', booleanOf) ?? false,
    number: (name) => read(name, 'a number', numberOf),
    fields: (name) => read(name, 'addresses by name', (value) => (isObject(value) ? value : undefined)) ?? {},
  };

  function read<T>(name: string, expected: string, turn: (value: unknown) => T | undefined): T | undefined {
    const key = PREFIXES.map((prefix) => prefix + name).find((candidate) => config[candidate] !== undefined);
    if (key === undefined) return undefined;
    const value = turn(unwrapped(config[key]));
    if (value === undefined)
      problems.push(`Proxy.Config.${key}: expected ${expected}, found ${JSON.stringify(config[key])}`);
    return value;
  }
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Consul's configuration language makes a list of one out of a block. */
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

function numberOf(value: unknown): number | undefined {
  const read = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  return typeof read === 'number' && Number.isFinite(read) ? Math.trunc(read) : undefined;
}
