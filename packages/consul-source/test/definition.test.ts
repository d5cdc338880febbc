import { describe, expect, it } from 'vitest';
import { definitionOf } from '../src/index.ts';
import type { Definition } from '../src/index.ts';

const TAGGED = {
  lan: { Address: '1.2.3.4', Port: 8443 },
  wan: { Address: '198.18.0.1', Port: 443 },
  lan_ipv4: { Address: '1.2.3.4', Port: 8443 },
  wan_ipv4: { Address: '1.2.3.4', Port: 8443 },
};

describe('the addresses to listen on', () => {
  it.each<readonly [what: string, service: object, config: object, expected: readonly string[]]>([
    ['an address', { Address: '1.2.3.4', Port: 8443 }, {}, ['default 1.2.3.4:8443']],
    ['no address', { Address: '', Port: 443 }, {}, ['default 0.0.0.0:443']],
    [
      'tagged addresses, no default',
      { Address: '1.2.3.4', Port: 8443, TaggedAddresses: TAGGED },
      { envoy_gateway_bind_tagged_addresses: true, envoy_gateway_no_default_bind: true },
      ['lan 1.2.3.4:8443', 'wan 198.18.0.1:443'],
    ],
    [
      'the spelling of Consul 1.7',
      { Address: '1.2.3.4', Port: 8443, TaggedAddresses: TAGGED },
      { envoy_mesh_gateway_bind_tagged_addresses: true, envoy_mesh_gateway_no_default_bind: true },
      ['lan 1.2.3.4:8443', 'wan 198.18.0.1:443'],
    ],
    [
      'named addresses beside the default',
      { Address: '1.2.3.4', Port: 8443 },
      {
        envoy_gateway_bind_addresses: {
          foo: { Address: '198.17.2.3', Port: 8080 },
          bar: { address: '2001:db8::ff', port: '9999' },
          same: { Address: '1.2.3.4', Port: 8443 },
        },
      },
      ['bar 2001:db8::ff:9999', 'default 1.2.3.4:8443', 'foo 198.17.2.3:8080'],
    ],
    [
      'weakly typed values',
      { Address: '1.2.3.4', Port: 8443 },
      {
        envoy_gateway_no_default_bind: '1',
        envoy_gateway_bind_addresses: [{ foo: [{ Address: '198.17.2.3', Port: '8080' }] }],
      },
      ['foo 198.17.2.3:8080'],
    ],
    [
      'keys of other proxies',
      { Address: '1.2.3.4', Port: 8443 },
      { protocol: 'http', bind_address: '9.9.9.9', envoy_prometheus_bind_addr: '0.0.0.0:9102' },
      ['default 1.2.3.4:8443'],
    ],
  ])('with %s', (_what, service, config, expected) => {
    const { listeners, problems } = read(config, service);
    expect(listeners.map(({ name, endpoint }) => `${name} ${endpoint.host}:${endpoint.port}`)).toEqual(expected);
    expect(problems).toEqual([]);
  });
});

describe('a setting of the definition', () => {
  it.each<readonly [config: object, expected: Partial<Definition>]>([
    [{}, {}],
    [{ connect_timeout_ms: 1234 }, { connectTimeoutMs: 1234 }],
    [{ connect_timeout_ms: '1234' }, { connectTimeoutMs: 1234 }],
    [{ connect_timeout_ms: 0 }, {}],
    [{ envoy_gateway_remote_tcp_enable_keepalive: true }, { remoteKeepAlive: { idleMs: 60_000 } }],
    [
      {
        envoy_gateway_remote_tcp_enable_keepalive: 'true',
        envoy_gateway_remote_tcp_keepalive_time: 120,
        envoy_gateway_remote_tcp_keepalive_interval: '60',
        envoy_gateway_remote_tcp_keepalive_probes: 7,
      },
      { remoteKeepAlive: { idleMs: 120_000, intervalMs: 60_000, probes: 7 } },
    ],
    [{ envoy_gateway_remote_tcp_keepalive_time: 120 }, {}],
  ])('%j', (config, expected) => {
    const { connectTimeoutMs, remoteKeepAlive } = read(config);
    const found = { connectTimeoutMs, remoteKeepAlive };
    expect(found).toEqual({ connectTimeoutMs: undefined, remoteKeepAlive: undefined, ...expected });
  });

  it('that cannot be read is a problem, and its default is used', () => {
    const { connectTimeoutMs, problems } = read({ connect_timeout_ms: 'soon' });
    expect(connectTimeoutMs).toBeUndefined();
    expect(problems).toEqual(['Proxy.Config.connect_timeout_ms: expected a number, found "soon"']);
  });

  it('asks for WAN federation only with the value that Consul knows', () => {
    expect(read({}, { Meta: { 'consul-wan-federation': '1' } }).wanFederation).toBe(true);
    expect(read({}, { Meta: { 'consul-wan-federation': 'true' } }).wanFederation).toBe(false);
    expect(read({}, { Meta: null }).wanFederation).toBe(false);
  });
});

it.each([undefined, null, [], 'text', {}, { Service: 5 }])('%j is no definition', (json) => {
  expect(definitionOf(json)).toBeUndefined();
});

function read(config: object, service: object = {}): Definition {
  const definition = definitionOf({ Service: 'gw', ID: 'gw-1', Port: 443, ...service, Proxy: { Config: config } });
  if (definition === undefined) throw new Error('expected a definition, found none');
  return definition;
}
