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
        envoy_gateway_bind_addresses: [{ admin: { Address: '127.0.0.1', Port: '9000' }, bad: { Address: '' } }],
      },
      ['admin 127.0.0.1:9000'],
    ],
    ['by the spelling of Consul 1.7', { envoy_mesh_gateway_no_default_bind: true }, []],
  ])('%s', (_claim, config, expected) => {
    const { listeners } = define(config);
    expect(listeners.map(({ name, endpoint: { host, port } }) => `${name} ${host}:${port}`)).toEqual(expected);
  });

  it('is any address that the caller means by none', () => {
    const registration = { address: '', port: 1, taggedAddresses: {}, meta: {}, config: {} };
    expect(gatewayDefinition(registration, '0.0.0.0').listeners[0]?.endpoint.host).toBe('0.0.0.0');
  });
});

describe('the settings of a mesh gateway', () => {
  it('are read weakly', () => {
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
    expect(define(keepAlive).remoteKeepAlive).toEqual({ idleMs: 120_000, intervalMs: 60_000, probes: 7 });
  });

  it('that make no sense are told, and left at their default', () => {
    expect(define({ connect_timeout_ms: 'soon' })).toMatchObject({
      problems: ['Proxy.Config.connect_timeout_ms: expected a number, found "soon"'],
    });
    expect(define({ connect_timeout_ms: 'soon' })).not.toHaveProperty('connectTimeoutMs');
  });

  it('carry the traffic of servers where the meta says so', () => {
    expect(define({}).wanFederation).toBe(false);
    expect(define({}, { 'consul-wan-federation': '1' }).wanFederation).toBe(true);
  });
});

function define(config: Readonly<Record<string, unknown>>, meta: Readonly<Record<string, string>> = {}) {
  return gatewayDefinition({ address: '10.0.0.1', port: 8_443, taggedAddresses: TAGGED, meta, config }, '0.0.0.0');
}
