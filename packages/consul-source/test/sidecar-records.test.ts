import { explainMode, NO_ENTRIES } from '@meshgate/mesh';
import type { UpstreamDefinition } from '@meshgate/mesh';
import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../src/json.ts';
import { chainOf } from '../src/sidecar/chain.ts';
import { attributedMode, ownEntriesOf } from '../src/sidecar/own-entries.ts';
import { proxyDefinitionOf } from '../src/sidecar/proxy-definition.ts';

const BIND = { host: '127.0.0.1', port: 9191 };

describe('the registration of a proxy', () => {
  const service = (proxy: object, over: object = {}) => ({
    Kind: 'connect-proxy',
    ID: 'web-1-sidecar-proxy',
    Service: 'web-sidecar-proxy',
    Port: 21_000,
    Address: '',
    Proxy: { DestinationServiceName: 'web', LocalServicePort: 8080, ...proxy },
    ...over,
  });

  it.each<readonly [claim: string, json: unknown]>([
    ['that has no proxy part', { ID: 'web', Service: 'web' }],
    ['that names no destination', { ID: 'x', Service: 'x', Proxy: {} }],
    ['that is no object', 'registration'],
  ])('%s is not valid', (_claim, json) => {
    expect(proxyDefinitionOf(json)).toBeUndefined();
  });

  it.each<readonly [claim: string, json: unknown, expected: object]>([
    ['listens everywhere without an address', service({}), { listen: { host: '0.0.0.0', port: 21_000 } }],
    [
      'listens at its own address',
      service({}, { Address: '10.0.0.1' }),
      { listen: { host: '10.0.0.1', port: 21_000 } },
    ],
    [
      'listens where its opaque settings say, in whatever type',
      service({ Config: { bind_address: '10.0.0.2', bind_port: '443' } }),
      { listen: { host: '10.0.0.2', port: 443 } },
    ],
    [
      'listens at its own port with a bind port of 0',
      service({ Config: { bind_port: 0 } }),
      { listen: { host: '0.0.0.0', port: 21_000 } },
    ],
    ['finds its application on loopback', service({}), { application: { host: '127.0.0.1', port: 8080 } }],
    [
      'finds its application at a socket',
      service({ LocalServiceSocketPath: '/run/web.sock' }),
      { application: { host: 'unix:/run/web.sock', port: 0 } },
    ],
    [
      'has upstreams of services and of queries',
      service({
        Upstreams: [
          { DestinationName: 'db', LocalBindPort: 9191, Datacenter: 'dc2', MeshGateway: { Mode: 'remote' } },
          {
            DestinationType: 'prepared_query',
            DestinationName: 'geo',
            LocalBindAddress: '127.0.0.2',
            LocalBindPort: 9192,
          },
          { DestinationName: 'sock', LocalBindSocketPath: '/run/up.sock', LocalBindSocketMode: '0600' },
        ],
      }),
      {
        upstreams: [
          {
            name: 'db',
            kind: 'service',
            bind: BIND,
            datacenter: 'dc2',
            mode: { value: 'remote', object: 'upstream db of web-1-sidecar-proxy' },
          },
          { name: 'geo', kind: 'prepared-query', bind: { host: '127.0.0.2', port: 9192 } },
          { name: 'sock', kind: 'service', bind: { host: 'unix:/run/up.sock', port: 0 }, socketMode: '0600' },
        ],
      },
    ],
    [
      'passes over upstreams that have no address of their own',
      service({ Upstreams: [{ DestinationName: 'x' }] }),
      { upstreams: [] },
    ],
  ])('%s', (_claim, json, expected) => {
    expect(proxyDefinitionOf(json)).toMatchObject(expected);
  });
});

describe("the origin of a mode, from an agent's response", () => {
  const mode = (value: string | undefined, object: string) => (value === undefined ? {} : { mode: { value, object } });
  const entry = (value: string | undefined, over: JsonObject = {}): JsonObject =>
    value === undefined ? over : { MeshGateway: { Mode: value }, ...over };

  /** Modes according to the registration and to the config entries. */
  interface Row {
    readonly upstream?: string;
    readonly proxy?: string;
    readonly service?: string;
    readonly central?: string;
    readonly override?: string;
    readonly expected: string;
  }

  it.each<readonly [claim: string, row: Row]>([
    ['nothing anywhere', { expected: 'no mode is set: direct' }],
    [
      'not merged: the upstream',
      { upstream: 'local', central: 'remote', expected: 'local by the upstream definition' },
    ],
    ['not merged: the instance', { proxy: 'local', central: 'remote', expected: 'local by the service instance' }],
    [
      'not merged: the service defaults',
      { service: 'local', central: 'remote', expected: 'local by the service defaults' },
    ],
    ['not merged: the proxy defaults', { central: 'remote', expected: 'remote by the proxy defaults' }],
    [
      'not merged: the upstream says what the proxy defaults say, too',
      { upstream: 'local', central: 'local', expected: 'local by the upstream definition' },
    ],
    [
      'merged from the proxy defaults',
      { upstream: 'remote', proxy: 'remote', central: 'remote', expected: 'remote by the proxy defaults' },
    ],
    [
      'merged from the service defaults',
      {
        upstream: 'local',
        proxy: 'local',
        service: 'local',
        central: 'remote',
        expected: 'local by the service defaults',
      },
    ],
    [
      'merged from the instance',
      {
        upstream: 'none',
        proxy: 'none',
        service: 'local',
        central: 'remote',
        expected: 'none by the service instance',
      },
    ],
    [
      'merged, and the upstream has its own',
      { upstream: 'none', proxy: 'local', central: 'local', expected: 'none by the upstream definition' },
    ],
    [
      'merged from an override for the upstream',
      {
        upstream: 'none',
        proxy: 'local',
        central: 'local',
        override: 'none',
        expected: "none by the upstream's override",
      },
    ],
    [
      'a word that is no mode',
      { upstream: 'LOCAL', expected: 'upstream db: expected none, local or remote, found "LOCAL"' },
    ],
  ])('%s', (_claim, { upstream, proxy, service, central, override, expected: reported }) => {
    const definition: UpstreamDefinition = {
      name: 'db',
      kind: 'service',
      bind: BIND,
      ...mode(upstream, 'upstream db'),
    };
    const overrides =
      override === undefined ? {} : { UpstreamConfig: { Overrides: [{ Name: 'db', ...entry(override) }] } };
    const entries = ownEntriesOf(
      { mesh: undefined, proxyDefaults: entry(central), serviceDefaults: entry(service, overrides) },
      'web',
    );
    const registered = { ...PROXY, ...mode(proxy, 'the registration of web-proxy') };
    expect(explainMode(attributedMode(definition, registered, entries))).toMatch(new RegExp(`^${reported}`));
  });

  it('an override for a service of a peer applies to that one, and not to the local service of the same name', () => {
    const overrides = { UpstreamConfig: { Overrides: [{ Name: 'db', Peer: 'cloud', ...entry('local') }] } };
    const given = { mesh: undefined, proxyDefaults: undefined, serviceDefaults: entry(undefined, overrides) };
    const entries = ownEntriesOf(given, 'web');
    const local: UpstreamDefinition = { name: 'db', kind: 'service', bind: BIND };
    expect(attributedMode({ ...local, peer: 'cloud' }, PROXY, entries)).toMatchObject({
      kind: 'decided',
      mode: 'local',
    });
    expect(attributedMode(local, PROXY, entries)).toEqual({ kind: 'unset' });
  });

  it('without readable entries, the registration decides', () => {
    const definition: UpstreamDefinition = { name: 'db', kind: 'service', bind: BIND };
    const decision = attributedMode(definition, { ...PROXY, ...mode('local', 'web-proxy') }, NO_ENTRIES);
    expect(explainMode(decision)).toBe('local by the service instance (web-proxy)');
  });
});

const PROXY = {
  id: 'web-proxy',
  name: 'web-proxy',
  service: 'web',
  listen: BIND,
  application: BIND,
  upstreams: [],
  config: {},
};

describe('a compiled discovery chain', () => {
  const context = { service: 'db', trustDomain: 'td.consul', decision: { kind: 'unset' } } as const;
  const target = (over: object) => ({
    Service: 'db',
    Namespace: 'default',
    SNI: 'sni',
    MeshGateway: {},
    Subset: {},
    ...over,
  });
  const compiled = (resolver: object, targets: object) => ({
    Chain: {
      StartNode: 'resolver:db',
      Nodes: { 'resolver:db': { Type: 'resolver', Resolver: resolver } },
      Targets: targets,
    },
  });

  it('becomes targets in order of preference, each with the name and the identity of its datacenter', () => {
    const json = compiled(
      { ConnectTimeout: '3s', Target: 'v1.db.default.dc1', Failover: { Targets: ['v1.db.default.dc2'] } },
      {
        'v1.db.default.dc2': target({
          Datacenter: 'dc2',
          ServiceSubset: 'v1',
          SNI: 'two',
          MeshGateway: { Mode: 'local' },
        }),
        'v1.db.default.dc1': target({
          Datacenter: 'dc1',
          ServiceSubset: 'v1',
          SNI: 'one',
          Subset: { Filter: 'Service.Meta.v == 1', OnlyPassing: true },
        }),
      },
    );
    expect(chainOf(json, context)).toMatchObject({
      kind: 'compiled',
      chain: {
        targets: [
          {
            serverName: 'one',
            subset: 'v1',
            identities: ['spiffe://td.consul/ns/default/dc/dc1/svc/db'],
            instances: { filter: 'Service.Meta.v == 1', onlyPassing: true },
            decision: { kind: 'unset' },
            connectTimeoutMs: 3_000,
          },
          {
            serverName: 'two',
            identities: ['spiffe://td.consul/ns/default/dc/dc2/svc/db'],
            decision: { kind: 'decided', mode: 'local', by: { scope: 'discovery-chain' } },
          },
        ],
      },
    });
  });

  it.each<
    readonly [claim: string, resolver: object, connectTimeoutMs: number | undefined, expected: number | undefined]
  >([
    ['the default of Consul is none', { Default: true, ConnectTimeout: '5s', Target: 'db' }, undefined, undefined],
    ['that of a resolver counts', { ConnectTimeout: '2s', Target: 'db' }, undefined, 2_000],
    ['that of the upstream goes before it', { ConnectTimeout: '2s', Target: 'db' }, 700, 700],
  ])('connect timeout: %s', (_claim, resolver, connectTimeoutMs, expected) => {
    const json = compiled(resolver, { db: target({ Datacenter: 'dc1' }) });
    const chain = chainOf(json, { ...context, ...(connectTimeoutMs === undefined ? {} : { connectTimeoutMs }) });
    expect(chain?.kind === 'compiled' && chain.chain.targets[0].connectTimeoutMs).toBe(expected);
  });

  it('has no name for a service of a peer, whatever it contains: that comes with the instances', () => {
    const json = compiled({ Target: 'x' }, { x: target({ Datacenter: '', Peer: 'cloud', SNI: 'not.on.the.wire' }) });
    expect(chainOf(json, context)).toMatchObject({
      chain: { targets: [{ peer: 'cloud', serverName: '', identities: [] }] },
    });
  });

  it('that begins with a router is rejected', () => {
    const json = { Chain: { StartNode: 'r', Nodes: { r: { Type: 'router' } }, Targets: {} } };
    expect(chainOf(json, context)).toMatchObject({
      kind: 'refused',
      message: expect.stringContaining('found a router'),
    });
  });

  it.each<readonly [claim: string, json: unknown]>([
    ['is no object', 7],
    ['has no start', { Chain: { Nodes: {}, Targets: {} } }],
    ['names a target that it does not have', compiled({ Target: 'x' }, {})],
    ['has a target without a name to send', compiled({ Target: 'x' }, { x: target({ SNI: '' }) })],
  ])('that %s is not valid', (_claim, json) => {
    expect(chainOf(json, context)).toBeUndefined();
  });
});
