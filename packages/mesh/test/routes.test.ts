import type { Route } from '@meshgate/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { deriveRoutes, routeDeriver, steppedRouteDeriver } from '../src/index.ts';
import type { Catalog, CatalogService, RoutingGateway, Instance, GatewayResolver, Subset } from '../src/index.ts';
import { instance } from './instance.ts';

const TD = '11111111-2222-3333-4444-555555555555.consul';
const CRITICAL = [{ id: 'mem', status: 'critical' }] as const;

describe('a local service', () => {
  it('is routed to all its instances, with the unhealthy ones marked', () => {
    const service = { name: 'foo', selections: {}, instances: [at('.3'), at('.4'), at('.9', { checks: CRITICAL })] };
    const [route] = routes({ services: [service] });
    expect(route).toMatchObject({ name: 'service:foo', kind: 'local-service' });
    expect(targets(route)).toEqual(['172.16.1.3:2222', '172.16.1.4:2222', '172.16.1.9:2222 unhealthy']);
    expect(route?.serverNames).toEqual([`foo.default.dc1.internal.${TD}`]);
    expect(route?.origin).toEqual({
      rule: 'all Connect instances',
      service: 'foo',
      namespace: 'default',
      datacenter: 'dc1',
      health: '2 of 3 healthy',
      unhealthy: 'foo-1 on node-1 (mem critical)',
    });
  });

  it('without a Connect instance has no route, whatever its resolver contains', () => {
    expect(routes({ services: [{ ...foo(), instances: [] }] })).toEqual([]);
  });

  it('is dialled at its lan address, even with a wan tag', () => {
    const taggedAddresses = { wan: { address: '198.18.0.1', port: 443 } };
    const [route] = routes({
      services: [{ name: 'foo', selections: {}, instances: [at('.3', { taggedAddresses })] }],
    });
    expect(targets(route)).toEqual(['172.16.1.3:2222']);
  });

  it('in another namespace and partition has both in its name', () => {
    const [route] = routes({ partition: 'eu', services: [{ ...foo(), namespace: 'shop' }] });
    expect(route?.serverNames).toEqual([`foo.shop.eu.dc1.internal-v1.${TD}`]);
    expect(route?.name).toBe('service:shop/foo');
  });

  it('skips an instance without address or port, and reports it', () => {
    const service = { name: 'foo', selections: {}, instances: [at('.3'), at('.4', { port: 0 })] };
    const { routes: found, problems } = deriveRoutes(catalog({ services: [service] }), GATEWAY);
    expect(targets(found[0])).toEqual(['172.16.1.3:2222']);
    expect(problems).toMatchObject([{ path: ['service', 'foo'], message: expect.stringContaining('foo-1') as string }]);
  });

  it.each<[GatewayResolver['loadBalancer'], Route['balance']]>([
    ['least_request', 'least_connections'],
    ['round_robin', 'round_robin'],
    ['random', 'random'],
    ['ring_hash', undefined],
    ['maglev', undefined],
    [undefined, undefined],
  ])('with load balancer %s is balanced by %s', (loadBalancer, balance) => {
    const resolver = { subsets: {}, ...(loadBalancer === undefined ? {} : { loadBalancer }) };
    expect(routes({ services: [{ ...foo(), resolver }] })[0]?.balance).toBe(balance);
  });

  it.each([
    [10_000, 2_000, 10_000],
    [undefined, 2_000, 2_000],
    [undefined, undefined, undefined],
  ])('with timeout %s in its resolver and %s for the gateway has %s', (ofResolver, ofGateway, expected) => {
    const resolver = { subsets: {}, ...(ofResolver === undefined ? {} : { connectTimeoutMs: ofResolver }) };
    const gateway = { ...GATEWAY, ...(ofGateway === undefined ? {} : { connectTimeoutMs: ofGateway }) };
    const { routes: found } = deriveRoutes(catalog({ services: [{ ...foo(), resolver }] }), gateway);
    expect(found[0]?.connectTimeoutMs).toBe(expected);
  });
});

describe('subsets', () => {
  const all = [at('.3'), at('.4'), at('.5'), at('.9', { checks: CRITICAL })];
  const [three, four, five, nine] = all as [Instance, Instance, Instance, Instance];
  const split: CatalogService = {
    name: 'foo',
    instances: all,
    resolver: { subsets: { v1: byVersion('v1'), v2: byVersion('v2') } },
    selections: {
      v1: { kind: 'selected', instances: [three, four] },
      v2: { kind: 'selected', instances: [five, nine] },
    },
  };

  it('have separate names besides the unnamed one', () => {
    expect(summary(routes({ services: [split] }))).toEqual([
      ['service:foo', '172.16.1.3:2222', '172.16.1.4:2222', '172.16.1.5:2222', '172.16.1.9:2222 unhealthy'],
      ['subset:v1.foo', '172.16.1.3:2222', '172.16.1.4:2222'],
      ['subset:v2.foo', '172.16.1.5:2222', '172.16.1.9:2222 unhealthy'],
    ]);
  });

  it('replace the unnamed name when they are the default', () => {
    const resolver: GatewayResolver = { subsets: split.resolver?.subsets ?? {}, defaultSubset: 'v2' };
    const [unnamed] = routes({ services: [{ ...split, resolver }] });
    expect(targets(unnamed)).toEqual(['172.16.1.5:2222', '172.16.1.9:2222 unhealthy']);
    expect(unnamed?.serverNames).toEqual([`foo.default.dc1.internal.${TD}`]);
    expect(unnamed?.origin?.['rule']).toBe('default subset v2: Service.Meta.version == v2');
  });

  it('count only passing instances as healthy if configured, also for the unnamed name of a default', () => {
    const instances = [at('.3', { checks: [{ id: 'mem', status: 'warning' }] })];
    const subsets = { strict: { filter: '', onlyPassing: true }, lax: { filter: '', onlyPassing: false } };
    const selections = { strict: { kind: 'selected', instances }, lax: { kind: 'selected', instances } } as const;
    const service = { name: 'foo', instances, selections, resolver: { subsets, defaultSubset: 'strict' } };
    expect(summary(routes({ services: [service] }))).toEqual([
      ['service:foo', '172.16.1.3:2222 unhealthy'],
      ['subset:lax.foo', '172.16.1.3:2222'],
      ['subset:strict.foo', '172.16.1.3:2222 unhealthy'],
    ]);
  });

  it('that select nothing keep their name without a backend', () => {
    const selections = { ...split.selections, v1: { kind: 'selected', instances: [] } } as const;
    expect(summary(routes({ services: [{ ...split, selections }] }))[1]).toEqual(['subset:v1.foo']);
  });

  it('with a filter that Consul rejects affect only themselves, and show why', () => {
    const selections = {
      ...split.selections,
      v1: { kind: 'refused', reason: 'Selector "Nope" is not valid' },
    } as const;
    const derived = deriveRoutes(catalog({ services: [{ ...split, selections }, bar()] }), GATEWAY);
    expect(derived.routes.map(({ backends }) => backends.length)).toEqual([2, 4, 0, 2]);
    const reasons = derived.routes.map(({ origin }) => origin?.['refused']);
    expect(reasons).toEqual([undefined, undefined, 'Selector "Nope" is not valid', undefined]);
    expect(derived.problems).toEqual([
      {
        path: ['service-resolver', 'foo', 'Subsets', 'v1', 'Filter'],
        message: 'Consul rejects this filter: Selector "Nope" is not valid',
      },
    ]);
  });

  it('that are the default but not defined leave the unnamed name without a backend, and report it', () => {
    const resolver = { subsets: {}, defaultSubset: 'v9' };
    const derived = deriveRoutes(catalog({ services: [{ ...split, resolver }] }), GATEWAY);
    expect(summary(derived.routes)).toEqual([['service:foo']]);
    expect(derived.problems).toMatchObject([{ path: ['service-resolver', 'foo', 'DefaultSubset'] }]);
  });
});

describe('a remote datacenter', () => {
  const gateways = [
    gatewayAt('198.18.1.1', { checks: CRITICAL }),
    gatewayAt('198.18.1.2'),
    gatewayAt('gw.example.com'),
  ];

  it('is reached through its gateways at their wan addresses: IPs and hostnames together, by their health', () => {
    const [route, ...others] = routes({ gateways: [{ datacenter: 'dc2', gateways }] });
    expect(others).toEqual([]);
    expect(route).toMatchObject({ name: 'datacenter:dc2', kind: 'remote-datacenter' });
    expect(route?.serverNames).toEqual([`*.dc2.internal.${TD}`, `dc2.internal.${TD}`]);
    expect(targets(route)).toEqual(['198.18.1.1:443 unhealthy', '198.18.1.2:443', 'gw.example.com:443']);
  });

  it('is not the local one', () => {
    expect(routes({ gateways: [{ datacenter: 'dc1', gateways }] })).toEqual([]);
  });

  it('is also another partition of the local one', () => {
    const [route] = routes({ gateways: [{ datacenter: 'dc1', partition: 'eu', gateways }] });
    expect(route?.serverNames).toEqual([`*.eu.dc1.internal-v1.${TD}`, `eu.dc1.internal-v1.${TD}`]);
  });

  it('without a gateway keeps its names, without a backend and with a reason', () => {
    const group = { datacenter: 'dc2', gateways: [] };
    const derived = deriveRoutes(catalog({ gateways: [group] }), GATEWAY);
    expect(derived).toMatchObject({
      routes: [{ name: 'datacenter:dc2', backends: [], withoutBackend: 'NO_GATEWAY' }],
      problems: [{ path: ['mesh-gateways', 'dc2'], message: 'has no mesh gateway' }],
    });
    const unasked = { ...group, problem: 'it does not answer' };
    const [problem] = deriveRoutes(catalog({ gateways: [unasked] }), GATEWAY).problems;
    expect(problem?.message).toContain('it does not answer');
  });

  it.each([
    [5, 9, '198.18.1.3:443'],
    [9, 5, '198.18.1.1:443'],
  ])('uses the newer of two lists (index %s and %s)', (first, second, expected) => {
    const [route] = routes({
      gateways: [
        { datacenter: 'dc2', gateways: [gatewayAt('198.18.1.1', { modifyIndex: first })] },
        { datacenter: 'dc2', gateways: [gatewayAt('198.18.1.3', { modifyIndex: second })] },
      ],
    });
    expect(targets(route)).toEqual([expected]);
  });

  it('has the keepalive and the timeout of the gateway', () => {
    const gateway = { ...GATEWAY, connectTimeoutMs: 1_234, remoteKeepAlive: { idleMs: 120_000 } };
    const derived = deriveRoutes(catalog({ gateways: [{ datacenter: 'dc2', gateways }], services: [foo()] }), gateway);
    expect(derived.routes).toMatchObject([
      { kind: 'local-service', connectTimeoutMs: 1_234 },
      { kind: 'remote-datacenter', connectTimeoutMs: 1_234, keepAlive: { idleMs: 120_000 } },
    ]);
    expect(derived.routes[0]?.keepAlive).toBeUndefined();
  });
});

describe('WAN federation', () => {
  const servers = [
    instance('consul', { node: 'Srv-1', address: '', nodeAddress: '10.0.0.7', port: 8300 }),
    instance('consul', { node: 'srv-2', address: '', nodeAddress: '10.0.0.8', port: 8300, checks: CRITICAL }),
  ];
  const given = { servers, gateways: [{ datacenter: 'dc2', gateways: [gatewayAt('198.18.1.1')] }] };

  it('adds the names of servers: each local one, all local ones, any remote one', () => {
    const { routes: found } = deriveRoutes(catalog(given), { wanFederation: true });
    expect(found.map(({ kind, serverNames, ...route }) => [kind, ...serverNames, ...targets(route as Route)])).toEqual([
      ['remote-datacenter', `*.dc2.internal.${TD}`, `dc2.internal.${TD}`, '198.18.1.1:443'],
      ['remote-servers', '*.server.dc2.consul', 'server.dc2.consul', '198.18.1.1:443'],
      ['local-servers', 'server.dc1.consul', '10.0.0.7:8300', '10.0.0.8:8300'],
      ['local-server', 'srv-1.server.dc1.consul', '10.0.0.7:8300'],
      ['local-server', 'srv-2.server.dc1.consul', '10.0.0.8:8300'],
    ]);
  });

  it('treats resets as a normal end on the routes of servers, and on no other', () => {
    const { routes: found } = deriveRoutes(catalog({ ...given, services: [foo()] }), { wanFederation: true });
    const usual = found.filter(({ resetsEndWell }) => resetsEndWell !== true).map(({ kind }) => kind);
    expect(new Set(usual)).toEqual(new Set(['remote-datacenter', 'local-service']));
    expect(found.length - usual.length).toBe(4);
  });

  it('is off unless the gateway is registered for it', () => {
    expect(routes(given).map(({ kind }) => kind)).toEqual(['remote-datacenter']);
  });

  it('follows the DNS domain of the agents', () => {
    const { routes: found } = deriveRoutes(catalog({ servers, dnsDomain: 'mesh.example.' }), { wanFederation: true });
    expect(found[0]?.serverNames).toEqual(['server.dc1.mesh.example']);
  });
});

describe('a service whose name cannot be part of a server name', () => {
  it.each([
    ['web@v2', 'expected letters, digits, hyphens and underscores, found "@"'],
    ['web:v2', 'expected letters, digits, hyphens and underscores, found ":"'],
    ['team/web', 'expected letters, digits, hyphens and underscores, found "/"'],
    ['web api', 'expected letters, digits, hyphens and underscores, found " "'],
    ['w\u{1f600}', 'expected letters, digits, hyphens and underscores, found "\u{1f600}"'],
    ['a..b', 'expected labels with at least one byte, found an empty one'],
    ['w'.repeat(64), 'expected labels of at most 63 bytes, found one of 64'],
    ['w.'.repeat(100), 'expected labels with at least one byte, found an empty one'],
    [Array(100).fill('w').join('.'), expect.stringMatching(/^expected at most 253 bytes, found 2/)],
  ])('is routed nevertheless, with a warning that names it: %s', (name, why) => {
    const derived = deriveRoutes(catalog({ services: [{ ...foo(), name }] }), GATEWAY);
    const [route] = derived.routes;
    expect(route?.backends).toHaveLength(1);
    expect(route?.origin?.['unusableName']).toEqual(why);
    expect(derived.problems).toEqual([
      { path: ['route', `service:${name}`], message: `no client can request it: ${route?.origin?.['unusableName']}` },
    ]);
  });

  it.each(['*', '*.x', '*x'])('affects no other name: %s', (name) => {
    const derived = deriveRoutes(catalog({ services: [{ ...foo(), name }, bar()] }), GATEWAY);
    const names = derived.routes.flatMap(({ serverNames }) => serverNames);
    expect(names).toEqual([`bar.default.dc1.internal.${TD}`]);
    expect(derived.problems).toMatchObject([{ path: ['route', `service:${name}`] }]);
  });

  it.each(['Web', 'web_1', 'a.b', 'w'.repeat(63), '-web', 'web-'])('is not %s', (name) => {
    const derived = deriveRoutes(catalog({ services: [{ ...foo(), name }] }), GATEWAY);
    expect(derived.problems).toEqual([]);
    expect(derived.routes[0]?.origin).not.toHaveProperty('unusableName');
  });
});

describe('routes', () => {
  it('with the same name are never merged: the first keeps it and the other is reported', () => {
    const dotted = { name: 'v1.db', instances: [at('.3')], selections: {} };
    const db: CatalogService = {
      name: 'db',
      instances: [at('.4')],
      resolver: { subsets: { v1: byVersion('v1') } },
      selections: { v1: { kind: 'selected', instances: [at('.4')] } },
    };
    const derived = deriveRoutes(catalog({ services: [db, dotted] }), GATEWAY);
    expect(summary(derived.routes)).toEqual([
      ['service:db', '172.16.1.4:2222'],
      ['service:v1.db', '172.16.1.3:2222'],
    ]);
    expect(derived.problems).toEqual([
      { path: ['route', 'subset:v1.db'], message: 'has the same server name as service:v1.db: not routed' },
    ]);
  });

  it('have unique names in lower case and valid weights, for any catalog', () => {
    fc.assert(
      fc.property(anyCatalog(), fc.boolean(), (given, wanFederation) => {
        const { routes: found } = deriveRoutes(given, { wanFederation });
        const names = found.flatMap(({ serverNames }) => serverNames);
        expect(new Set(names).size).toBe(names.length);
        expect(new Set(found.map(({ name }) => name)).size).toBe(found.length);
        expect(names).toEqual(names.map((name) => name.toLowerCase()));
        const weights = found.flatMap(({ backends }) => backends.map(({ weight }) => weight));
        expect(weights.every((weight) => Number.isInteger(weight) && weight >= 1 && weight <= 128)).toBe(true);
      }),
    );
  });

  it("do not depend on the order in Consul's lists", () => {
    fc.assert(
      fc.property(anyCatalog(), (given) => {
        const turned = {
          ...given,
          services: given.services.map((each) => ({ ...each, instances: each.instances.toReversed() })).toReversed(),
        };
        expect(deriveRoutes(turned, GATEWAY).routes).toEqual(deriveRoutes(given, GATEWAY).routes);
      }),
    );
  });
});

describe('a deriver with a cache', () => {
  it('derives in steps, none of which grows with the number of services', () => {
    const services = Array.from({ length: 3_000 }, (_, index) => ({ ...foo(), name: `s${index}` }));
    const given = catalog({ services });
    let count = 0;
    for (const steps = steppedRouteDeriver()(given, GATEWAY); steps.next().done !== true;) count += 1;
    expect(count).toBeGreaterThan(2 * services.length);
  });

  it('gives what one without a cache gives, in any sequence', () => {
    const derive = routeDeriver();
    fc.assert(
      fc.property(anyCatalog(), anyCatalog(), fc.integer({ min: 1, max: 3 }), (one, other, connectTimeoutMs) => {
        const mixed = { ...one, services: [...one.services, ...other.services] };
        for (const [given, gateway] of [
          [one, GATEWAY],
          [mixed, GATEWAY],
          [mixed, { ...GATEWAY, connectTimeoutMs }],
          [{ ...mixed, trustDomain: 'other.consul' }, GATEWAY],
        ] as const)
          expect(derive(given, gateway)).toEqual(deriveRoutes(given, gateway));
      }),
    );
  });
});

const GATEWAY: RoutingGateway = { wanFederation: false };

function catalog(over: Partial<Catalog>): Catalog {
  return { datacenter: 'dc1', trustDomain: TD, dnsDomain: 'consul', services: [], gateways: [], servers: [], ...over };
}

function routes(over: Partial<Catalog>): readonly Route[] {
  return deriveRoutes(catalog(over), GATEWAY).routes;
}

function foo(): CatalogService {
  return { name: 'foo', instances: [at('.3')], selections: {} };
}

function bar(): CatalogService {
  return { name: 'bar', instances: [at('.6'), at('.7')], selections: {} };
}

function at(suffix: string, over: Partial<Instance> = {}): Instance {
  return instance('foo', { address: `172.16.1${suffix}`, port: 2222, ...over });
}

function gatewayAt(address: string, over: Partial<Instance> = {}): Instance {
  return instance('mesh-gateway', {
    kind: 'mesh-gateway',
    port: 8443,
    taggedAddresses: { wan: { address, port: 443 } },
    ...over,
  });
}

function byVersion(version: string): Subset {
  return { filter: `Service.Meta.version == ${version}`, onlyPassing: false };
}

function targets(route: Pick<Route, 'backends'> | undefined): readonly string[] {
  return (route?.backends ?? []).map(
    ({ address, healthy }) => `${address.host}:${address.port}${healthy ? '' : ' unhealthy'}`,
  );
}

function summary(found: readonly Route[]): readonly (readonly string[])[] {
  return found.map((route) => [route.name, ...targets(route)]);
}

/** Few names, in upper and lower case, with dots: clashes are intended. */
function anyCatalog(): fc.Arbitrary<Catalog> {
  const name = fc.constantFrom('a', 'A', 'b', 'a.b', 'b.a', 'v1', 'v1.a');
  const someInstance = fc
    .record({
      address: fc.constantFrom('10.0.0.1', '10.0.0.2', ''),
      port: fc.integer({ min: 0, max: 3 }),
      weight: fc.integer({ min: -1, max: 300 }),
      status: fc.constantFrom('passing' as const, 'warning' as const, 'critical' as const),
    })
    .map(({ address, port, weight, status }) =>
      instance('a', { address, port, weights: { passing: weight, warning: 1 }, checks: [{ id: 'c', status }] }),
    );
  const instances = fc.uniqueArray(someInstance, {
    maxLength: 4,
    selector: ({ address, port }) => `${address || '10.0.0.1'}:${port}`,
  });
  const service = fc.record({ name, instances, subset: name }).map(({ name: of, instances: list, subset }) => ({
    name: of,
    instances: list,
    resolver: { subsets: { [subset]: byVersion('v1') } },
    selections: { [subset]: { kind: 'selected' as const, instances: list } },
  }));
  const services = fc.uniqueArray(service, { maxLength: 5, selector: ({ name: of }) => of });
  return services.map((list) => catalog({ services: list, servers: list.flatMap((each) => each.instances) }));
}
