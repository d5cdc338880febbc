import { formatEndpoint } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { gatewayDefinition } from '../src/index.ts';

const TAGGED = { lan: { address: '10.0.0.1', port: 8_443 }, wan: { address: '203.0.113.1', port: 443 } };

describe('where a mesh gateway listens', () => {
  it.each<[string, Readonly<Record<string, unknown>>, readonly string[]]>([
    ['at its address and port', {}, ['default 10.0.0.1:8443']],
    [
      'at its tagged addresses, too; one address is bound once',
      { envoy_gateway_bind_tagged_addresses: 'true' },
      ['default 10.0.0.1:8443', 'wan 203.0.113.1:443'],
    ],
    [
      'at others instead',
      {
        envoy_gateway_no_default_bind: 1,
        envoy_gateway_bind_addresses: [{ admin: { Address: '127.0.0.1', Port: '9000' } }],
      },
      ['admin 127.0.0.1:9000'],
    ],
    ['by the spelling of Consul 1.7', { envoy_mesh_gateway_no_default_bind: true }, []],
    [
      'at named addresses beside the default; one that is bound already is passed over',
      {
        envoy_gateway_bind_addresses: {
          foo: { Address: '198.17.2.3', Port: 8080 },
          bar: { address: '2001:db8::ff', port: '9999' },
          same: { Address: '10.0.0.1', Port: 8443 },
        },
      },
      ['bar [2001:db8::ff]:9999', 'default 10.0.0.1:8443', 'foo 198.17.2.3:8080'],
    ],
    [
      'at both, where a named address is called as another one is',
      {
        envoy_gateway_bind_tagged_addresses: true,
        envoy_gateway_bind_addresses: {
          default: { Address: '10.0.0.1', Port: 9000 },
          wan: { Address: '10.0.0.1', Port: 9001 },
        },
      },
      [
        'default 10.0.0.1:8443',
        'default:10.0.0.1:9000 10.0.0.1:9000',
        'wan 203.0.113.1:443',
        'wan:10.0.0.1:9001 10.0.0.1:9001',
      ],
    ],
    [
      'whatever the case of the keys, and whatever is a list of one',
      {
        Envoy_Gateway_No_Default_Bind: ['true'],
        envoy_gateway_bind_addresses: [{ foo: [{ ADDRESS: ['198.17.2.3'], PORT: ['8080'] }] }],
      },
      ['foo 198.17.2.3:8080'],
    ],
    [
      'as if nothing were set, by keys of other proxies and by null',
      { protocol: 'http', bind_address: '9.9.9.9', envoy_gateway_no_default_bind: null },
      ['default 10.0.0.1:8443'],
    ],
  ])('%s', (_claim, config, expected) => {
    const { listeners, problems } = define(config);
    expect(listeners.map(({ name, endpoint }) => `${name} ${formatEndpoint(endpoint)}`)).toEqual(expected);
    expect(problems).toEqual([]);
  });

  it.each([
    ['localhost', '127.0.0.1'],
    ['[::1]', '::1'],
    ['10.0.0.5', '10.0.0.5'],
  ])('at %s is at the address %s', (address, host) => {
    const registration = { address, port: 1, taggedAddresses: {}, meta: {}, config: {} };
    expect(gatewayDefinition(registration, '0.0.0.0').listeners[0]?.endpoint.host).toBe(host);
  });

  it.each([
    [
      'its own where a NAT stands before it',
      { address: '203.0.113.1', port: 443 },
      [{ host: '203.0.113.1', port: 443 }],
    ],
    ['none beside its own where the agent has filled it in', { address: '10.0.0.1', port: 8443 }, undefined],
  ])('is reached by other datacenters at %s', (_what, wan, advertised) => {
    const registration = { address: '10.0.0.1', port: 8443, taggedAddresses: { wan }, meta: {}, config: {} };
    expect(gatewayDefinition(registration, '0.0.0.0').listeners[0]?.advertised).toEqual(advertised);
  });

  it('is any address that the caller uses for an empty one', () => {
    const registration = { address: '', port: 1, taggedAddresses: {}, meta: {}, config: {} };
    expect(gatewayDefinition(registration, '0.0.0.0').listeners[0]?.endpoint.host).toBe('0.0.0.0');
  });
});

describe('the settings of a mesh gateway', () => {
  it('are weakly typed', () => {
    const config = { connect_timeout_ms: '1234', envoy_gateway_remote_tcp_enable_keepalive: 't' };
    expect(define(config)).toMatchObject({
      connectTimeoutMs: 1_234,
      remoteKeepAlive: { idleMs: 60_000 },
      problems: [],
    });
    const keepAlive = {
      envoy_gateway_remote_tcp_enable_keepalive: true,
      envoy_gateway_remote_tcp_keepalive_time: 120,
      envoy_gateway_remote_tcp_keepalive_interval: 60,
      envoy_gateway_remote_tcp_keepalive_probes: 7,
    };
    expect(define({ ...keepAlive, envoy_gateway_remote_tcp_enable_keepalive: false })).toEqual(define({}));
    expect(define({ connect_timeout_ms: 0 })).toEqual(define({}));
    expect(define(keepAlive).remoteKeepAlive).toEqual({ idleMs: 120_000, intervalMs: 60_000, probes: 7 });
  });

  it.each<[Readonly<Record<string, unknown>>, string]>([
    [{ Connect_timeout_ms: 'soon' }, 'Connect_timeout_ms: expected a number, found "soon"'],
    [{ envoy_gateway_no_default_bind: 'never' }, 'envoy_gateway_no_default_bind: expected a boolean, found "never"'],
    [{ envoy_gateway_bind_addresses: 5 }, 'envoy_gateway_bind_addresses: expected addresses by name, found 5'],
    [
      { envoy_mesh_gateway_bind_addresses: { wide: { Address: '0.0.0.0' } } },
      'envoy_mesh_gateway_bind_addresses.wide: expected an Address and a Port, found {"Address":"0.0.0.0"}',
    ],
    [
      { envoy_gateway_bind_addresses: { high: { Address: '::', Port: 65_536 } } },
      'envoy_gateway_bind_addresses.high: expected an Address and a Port, found {"Address":"::","Port":65536}',
    ],
  ])('that are invalid are reported, and keep their default: %j', (config, problem) => {
    expect(define(config)).toEqual({ ...define({}), problems: [`Proxy.Config.${problem}`] });
  });

  it('carry the traffic of servers if the meta enables it', () => {
    expect(define({}).wanFederation).toBe(false);
    expect(define({}, { 'consul-wan-federation': '1' }).wanFederation).toBe(true);
    expect(define({}, { 'consul-wan-federation': 'true' }).wanFederation).toBe(false);
  });
});

function define(config: Readonly<Record<string, unknown>>, meta: Readonly<Record<string, string>> = {}) {
  return gatewayDefinition({ address: '10.0.0.1', port: 8_443, taggedAddresses: TAGGED, meta, config }, '0.0.0.0');
}
