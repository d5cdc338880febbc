import { gatewayDefinition } from '@meshgate/mesh';
import type { GatewayDefinition } from '@meshgate/mesh';
import { object, number, text, strings } from './json.ts';
import { taggedAddressesOf } from './records.ts';

/**
 * Parses a registration from `agent/service/:id`, merged with central configuration. Returns `undefined` for anything
 * else.
 */
export function definitionOf(json: unknown): GatewayDefinition | undefined {
  const service = object(json);
  if (service === undefined || text(service['Service']) === '') return undefined;
  const registration = {
    address: text(service['Address']),
    port: number(service['Port']),
    taggedAddresses: taggedAddressesOf(service['TaggedAddresses']),
    meta: strings(service['Meta']),
    config: object(object(service['Proxy'])?.['Config']) ?? {},
  };
  return gatewayDefinition(registration, ANY_ADDRESS);
}

/** Listen address of Consul's gateways when the registration has none. */
const ANY_ADDRESS = '0.0.0.0';
