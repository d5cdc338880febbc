import type { Endpoint } from '@meshgate/core';
import { defined } from '@meshgate/core/parts';
import { type Field, MAX_TIMER_MS } from '@meshgate/documents';
import type { UpstreamDefinition } from '@meshgate/mesh';
import {
  ignored,
  itemsOf,
  type Keyed,
  optionalText,
  read,
  readKeys,
  readMode,
  refuseEnterprise,
  weakInteger,
} from './keys.ts';
import { readPassiveHealthCheck } from './passive-health-check.ts';

const UPSTREAM_KEYS = {
  ...read('destination_name', 'destination_type', 'destination_namespace', 'destination_partition'),
  ...read('destination_peer', 'datacenter', 'local_bind_address', 'local_bind_port'),
  ...read('local_bind_socket_path', 'local_bind_socket_mode', 'mesh_gateway', 'config'),
  ...ignored('centrally_configured', 'ingress_hosts'),
};

type UpstreamFields = Keyed<keyof typeof UPSTREAM_KEYS>;

/** Reads the upstreams of a proxy. Two upstreams with the same address are a problem. */
export function readUpstreams(field: Field | undefined): readonly UpstreamDefinition[] {
  const claimed = new Map<string, string>();
  return itemsOf(field).flatMap((item) => {
    const upstream = readUpstream(item);
    if (upstream === undefined) return [];
    const location = `${upstream.bind.host}:${upstream.bind.port}`;
    const other = claimed.get(location);
    if (other !== undefined)
      item.refuse(`expected a unique address, found ${location}, which upstream ${other} already uses`);
    claimed.set(location, upstream.name);
    return [upstream];
  });
}

/** Default address at which the application connects to its upstreams. */
const LOOPBACK = '127.0.0.1';
const MAX_PORT = 65_535;
const MAX_COUNT = 2_147_483_647;

function readUpstream(field: Field): UpstreamDefinition | undefined {
  const fields = readKeys(field, UPSTREAM_KEYS);
  refuseEnterprise(fields, 'destination_namespace', 'destination_partition');
  if (needsConsul(fields)) return undefined;
  const name = optionalText(fields.get('destination_name'));
  const bind = readBind(field, fields);
  if (name === undefined)
    return (fields.get('destination_name') ?? field).refuse('expected a "destination_name", found none');
  const optional = {
    datacenter: optionalText(fields.get('datacenter')),
    peer: optionalText(fields.get('destination_peer')),
    socketMode: optionalText(fields.get('local_bind_socket_mode')),
    mode: readMode(fields.get('mesh_gateway')),
    connectTimeoutMs: readConnectTimeout(fields.get('config')),
    maxConnections: readMaxConnections(fields.get('config')),
    passiveHealthCheck: readPassiveHealthCheck(settingOf(fields.get('config'), 'passive_health_check')),
  };
  return bind && { name, kind: 'service', bind, ...defined(optional) };
}

/** Skips prepared queries, which only Consul's servers can execute. */
function needsConsul(fields: UpstreamFields): boolean {
  const type = fields.get('destination_type');
  const kind = optionalText(type) && type?.oneOf(['service', 'prepared_query'] as const);
  if (kind === 'prepared_query') type?.warn('this upstream has no effect: prepared queries need Consul');
  return kind === 'prepared_query';
}

function readBind(field: Field, fields: UpstreamFields): Endpoint | undefined {
  const socket = optionalText(fields.get('local_bind_socket_path'));
  if (socket !== undefined) return { host: `unix:${socket}`, port: 0 };
  const host = optionalText(fields.get('local_bind_address')) ?? LOOPBACK;
  const port = fields.get('local_bind_port');
  if (port === undefined) return field.refuse('expected the key "local_bind_port", found none');
  const number = port.integer(1, MAX_PORT);
  return number === undefined ? undefined : { host, port: number };
}

function readMaxConnections(config: Field | undefined): number | undefined {
  return weakInteger(settingOf(settingOf(config, 'limits'), 'max_connections'), MAX_COUNT) || undefined;
}

function readConnectTimeout(config: Field | undefined): number | undefined {
  return weakInteger(settingOf(config, 'connect_timeout_ms'), MAX_TIMER_MS) || undefined;
}

/** Returns one of a proxy's opaque settings. */
function settingOf(config: Field | undefined, name: string): Field | undefined {
  return (config?.entries() ?? []).find(({ key }) => key === name)?.value;
}
