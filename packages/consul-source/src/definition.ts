import type { Endpoint, KeepAlive, ListenAddress } from '@meshgate/core';
import { list, mapped, number, object, text, texts } from './json.ts';
import type { JsonObject } from './json.ts';

/** What the agent has registered for this gateway, as far as a gateway lives by it. */
export interface Definition {
  /** Service id, unique on its agent; the name where the registration has none of its own. */
  readonly id: string;
  /** Name in the catalog, which all instances of the gateway share; never empty. */
  readonly service: string;
  /** Sorted by name; no address twice. */
  readonly listeners: readonly ListenAddress[];
  /** Carries the traffic of Consul's own servers (`consul-wan-federation` in the registration's meta). */
  readonly wanFederation: boolean;
  /** `connect_timeout_ms`; absent when unset. */
  readonly connectTimeoutMs?: number;
  /** Towards the gateways of other datacenters; absent unless switched on with a time. */
  readonly remoteKeepAlive?: KeepAlive;
  /** What could not be made out, one sentence each: the default is then used. */
  readonly problems: readonly string[];
}

/**
 * Reads a registration as `agent/service/:id` gives it, central configuration merged in. `Proxy.Config` is opaque to Consul:
 * read weakly, as Consul's own gateways do (`"8443"` for a number, `"true"` for a boolean, a list of one for its element); keys of
 * other proxies are passed over. `undefined` when it is no registration.
 */
export function definitionOf(json: unknown): Definition | undefined {
  const service = object(json);
  if (service === undefined || text(service['Service']) === '') return undefined;
  const problems: string[] = [];
  const config = weakReader(object(object(service['Proxy'])?.['Config']) ?? {}, problems);
  const connectTimeoutMs = config.number('connect_timeout_ms');
  const remoteKeepAlive = keepAliveOf(config);
  return {
    id: text(service['ID']) || text(service['Service']),
    service: text(service['Service']),
    listeners: listenersOf(service, config),
    wanFederation: texts(service['Meta'])['consul-wan-federation'] === '1',
    ...(connectTimeoutMs === undefined || connectTimeoutMs < 1 ? {} : { connectTimeoutMs }),
    ...(remoteKeepAlive === undefined ? {} : { remoteKeepAlive }),
    problems,
  };
}

/** Listens on every address of the host. */
const ANY_ADDRESS = '0.0.0.0';
// Well below the 350 s after which cloud load balancers forget a silent connection.
const DEFAULT_KEEPALIVE_IDLE_MS = 60_000;

function listenersOf(service: JsonObject, config: WeakReader): readonly ListenAddress[] {
  const own = { host: text(service['Address']) || ANY_ADDRESS, port: number(service['Port']) };
  const bound = {
    ...(config.boolean('no_default_bind') ? {} : { default: own }),
    ...(config.boolean('bind_tagged_addresses')
      ? addressesOf(mapped(service['TaggedAddresses'], (value) => value))
      : {}),
    ...addressesOf(config.fields('bind_addresses')),
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

function addressesOf(values: JsonObject): Readonly<Record<string, Endpoint>> {
  const entries = Object.entries(values).map(([name, value]) => [name, endpointOf(unwrapped(value))] as const);
  return Object.fromEntries(entries.filter((entry): entry is [string, Endpoint] => entry[1] !== undefined));
}

function endpointOf(value: unknown): Endpoint | undefined {
  const fields = object(value);
  const host = text(fields?.['Address'] ?? fields?.['address']);
  const port = Number(fields?.['Port'] ?? fields?.['port']);
  return host === '' || !Number.isInteger(port) ? undefined : { host, port };
}

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
    fields: (name) => read(name, 'addresses by name', object) ?? {},
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

/** Consul's configuration language makes a list of one out of a block. */
function unwrapped(value: unknown): unknown {
  return list(value).length === 1 ? list(value)[0] : value;
}

function booleanOf(value: unknown): boolean | undefined {
  if (typeof value === 'boolean') return value;
  if (typeof value === 'number') return value !== 0;
  if (/^(?:1|t|true)$/i.test(text(value))) return true;
  return /^(?:|0|f|false)$/i.test(text(value)) && typeof value === 'string' ? false : undefined;
}

function numberOf(value: unknown): number | undefined {
  const read = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  return typeof read === 'number' && Number.isFinite(read) ? Math.trunc(read) : undefined;
}
