import { expect, it } from 'vitest';
import { definitionOf } from '../src/own-definition.ts';

it('a registration is parsed as a mesh gateway’s definition, whatever fields a later Consul adds', () => {
  const registration = {
    Service: 'gw',
    ID: 'gw-1',
    Kind: 'mesh-gateway',
    Address: '10.0.0.1',
    Port: 8443,
    TaggedAddresses: { wan: { Address: '198.18.0.1', Port: 443 }, lan_ipv4: { Address: '10.0.0.1', Port: 8443 } },
    Meta: { 'consul-wan-federation': '1' },
    Proxy: { Config: { envoy_gateway_bind_tagged_addresses: true, connect_timeout_ms: '1234' }, Mode: '', Envoy: [] },
    Locality: { Region: 'eu' },
  };
  const advertised = [{ host: '198.18.0.1', port: 443 }];
  expect(definitionOf(registration)).toEqual({
    listeners: [
      { name: 'default', endpoint: { host: '10.0.0.1', port: 8443 }, advertised },
      { name: 'wan', endpoint: { host: '198.18.0.1', port: 443 }, advertised },
    ],
    wanFederation: true,
    connectTimeoutMs: 1_234,
    problems: [],
  });
});

it('a registration with null in place of empty parts, as Go writes them, listens everywhere', () => {
  const bare = { Service: 'gw', Port: 443, Address: '', TaggedAddresses: null, Meta: null, Proxy: { Config: null } };
  expect(definitionOf(bare)).toEqual({
    listeners: [{ name: 'default', endpoint: { host: '0.0.0.0', port: 443 } }],
    wanFederation: false,
    problems: [],
  });
});

it.each([undefined, null, [], 'text', {}, { Service: 5 }])('%j is not a definition', (json) => {
  expect(definitionOf(json)).toBeUndefined();
});
