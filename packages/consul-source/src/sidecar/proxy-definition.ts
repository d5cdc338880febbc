import type { Endpoint } from '@meshgate/core';
import { defined } from '@meshgate/core/parts';
import { weakNumber } from '@meshgate/mesh';
import type { ProxyDefinition, UpstreamDefinition, WrittenMode } from '@meshgate/mesh';
import { number, object, objects, optionalText, text } from '../json.ts';
import type { JsonObject } from '../json.ts';
import { passiveHealthCheckIn } from './passive-health-check.ts';

/**
 * Parses the registration of a Connect proxy from `agent/service/:id`; `undefined` for another kind. `Proxy.Config` is
 * opaque to Consul and weakly typed, as for Consul's own proxies.
 */
export function proxyDefinitionOf(json: unknown): ProxyDefinition | undefined {
  const service = object(json);
  const proxy = object(service?.['Proxy']);
  const destination = text(proxy?.['DestinationServiceName']);
  if (service === undefined || proxy === undefined || destination === '') return undefined;
  const id = text(service['ID']) || text(service['Service']);
  const config = object(proxy['Config']) ?? {};
  return {
    id,
    name: text(service['Service']),
    service: destination,
    ...defined({ serviceId: optionalText(proxy['DestinationServiceID']) }),
    listen: listenAddress(service, config),
    application: applicationAddress(proxy),
    upstreams: objects(proxy['Upstreams']).flatMap((upstream) => upstreamOf(upstream, id)),
    ...modeIn(proxy, `the registration of ${id}`),
    config,
  };
}

/** Without an address, Consul's proxies listen on every address of the host. */
const ANY_ADDRESS = '0.0.0.0';
const LOOPBACK = '127.0.0.1';

function listenAddress(service: JsonObject, config: JsonObject): Endpoint {
  const host = text(config['bind_address']) || text(service['Address']) || ANY_ADDRESS;
  return { host, port: weakNumber(config['bind_port']) || number(service['Port']) };
}

function applicationAddress(proxy: JsonObject): Endpoint {
  const socket = text(proxy['LocalServiceSocketPath']);
  if (socket !== '') return { host: `unix:${socket}`, port: 0 };
  return { host: text(proxy['LocalServiceAddress']) || LOOPBACK, port: number(proxy['LocalServicePort']) };
}

/**
 * Returns none for an upstream without a local address: a transparent proxy identifies it by the original destination.
 */
function upstreamOf(upstream: JsonObject, proxyId: string): readonly UpstreamDefinition[] {
  const name = text(upstream['DestinationName']);
  const bind = bindAddress(upstream);
  if (name === '' || bind === undefined) return [];
  const config = object(upstream['Config']) ?? {};
  const timeoutMs = weakNumber(config['connect_timeout_ms']) ?? 0;
  const maxConnections = maxConnectionsIn(config);
  return [
    {
      name,
      kind: upstream['DestinationType'] === 'prepared_query' ? 'prepared-query' : 'service',
      bind,
      ...defined({
        namespace: optionalText(upstream['DestinationNamespace']),
        datacenter: optionalText(upstream['Datacenter']),
        peer: optionalText(upstream['DestinationPeer']),
        socketMode: optionalText(upstream['LocalBindSocketMode']),
      }),
      ...modeIn(upstream, `upstream ${name} of ${proxyId}`),
      ...(timeoutMs < 1 ? {} : { connectTimeoutMs: timeoutMs }),
      ...(maxConnections < 1 ? {} : { maxConnections }),
      ...passiveHealthCheckIn(config['passive_health_check']),
    },
  ];
}

/**
 * Reads the limit as a registration writes it, or in the spelling of entries, as an agent merges it into a
 * registration.
 */
function maxConnectionsIn(config: JsonObject): number {
  const limits = object(config['limits']) ?? object(config['Limits']);
  return weakNumber(limits?.['max_connections'] ?? limits?.['MaxConnections']) ?? 0;
}

function bindAddress(upstream: JsonObject): Endpoint | undefined {
  const socket = text(upstream['LocalBindSocketPath']);
  if (socket !== '') return { host: `unix:${socket}`, port: 0 };
  const port = number(upstream['LocalBindPort']);
  return port < 1 ? undefined : { host: text(upstream['LocalBindAddress']) || LOOPBACK, port };
}

/** Returns the mode that an object sets, if any. */
export function modeIn(json: JsonObject, where: string): { readonly mode?: WrittenMode } {
  const value = text(object(json['MeshGateway'])?.['Mode']);
  return value === '' ? {} : { mode: { value, object: where } };
}
