import { createHash } from 'node:crypto';
import fc from 'fast-check';

/** One write to the server of a datacenter. */
export interface Write {
  readonly datacenter: 'dc1' | 'dc2';
  readonly method: 'PUT' | 'DELETE';
  readonly path: string;
  readonly body?: Readonly<Record<string, unknown>>;
}

/** Registrations, in an order that Consul accepts, and how to remove them. */
export interface Catalog {
  readonly register: readonly Write[];
  readonly remove: readonly Write[];
}

/** Id of the gateway in dc1 that both sides represent. */
export const GATEWAY = 'gw';
/** A service registered last, and a gateway of dc2: a view that has both has everything else too. */
export const marker = (
  turn: number,
): { readonly service: string; readonly port: number; readonly remotePort: number } => ({
  service: `marker-${turn}`,
  port: 10_000 + turn,
  remotePort: 10_000 + turn - (turn % REMOTE_EVERY),
});

/** A random catalog. Names end with `turn`, so that they are unique to this catalog. */
export function anyCatalog(turn: number): fc.Arbitrary<Catalog> {
  return fc
    .record({
      nodes: fc.tuple(...NODES.map((node) => nodeOf(`${node}-${turn}`))),
      instances: fc.array(fc.oneof(...instancesOf(turn)), { minLength: 3, maxLength: 12 }),
      nodeChecks: fc.array(nodeCheck(turn), { maxLength: 2 }),
      resolvers: fc.array(resolver(turn), { maxLength: 3 }),
      // One entry per gateway: Consul 1.8 never removes the services of a deleted entry from what it sends to Envoy.
      linked: fc.uniqueArray(links(turn), { maxLength: 2, selector: ({ body }) => body?.['Name'] }),
      proxyDefaults: fc.option(gatewayConfig),
      own: ownGateway(turn),
      remote: changesRemote(turn) ? fc.array(remoteGateway(), { maxLength: 3 }) : fc.constant([]),
    })
    .map((parts) => ({ register: [...writesOf(parts), ...markerWrites(turn)], remove: removalOf(turn, parts) }));
}

// Changes take seconds to reach the other datacenter, so the gateways of dc2 only change with every fourth catalog.
const REMOTE_EVERY = 4;

function changesRemote(turn: number): boolean {
  return turn % REMOTE_EVERY === 0;
}

const NODES = ['one', 'two', 'Three'];
const SERVICES = ['db', 'web', 'Api', 'api', 'with space'];
const IPS = ['10.0.0.1', '10.0.0.2', '::1', '2001:db8::1', '2001:DB8::2', '127.0.0.9'];
const HOSTS = ['db.example.com', 'Gw.Example.com'];
const SUBSETS = ['v1', 'v2', 'blue'];
const FILTERS = [
  '',
  'Service.Meta.version == v1',
  'Service.Meta.version != v1',
  'Service.Meta.version matches "v[12]"',
  '"blue" in Service.Tags',
  'Checks.Status == passing',
  'Node.Meta.rack == r1 or Service.Weights.Passing == 5',
  'Service.Address == ""',
  'Service.Kind == "connect-proxy" and not ("blue" in Service.Tags)',
];

const oneOf = <T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const maybe = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arbitrary, { nil: undefined });
const address = fc.oneof({ weight: 9, arbitrary: oneOf(...IPS) }, { weight: 1, arbitrary: oneOf(...HOSTS) });
const status = oneOf('passing', 'passing', 'warning', 'critical');
const tagged = fc.record(
  {
    wan: fc.record({ Address: fc.oneof({ weight: 9, arbitrary: address }, fc.constant('')), Port: oneOf(0, 443) }),
    lan: fc.record({ Address: address, Port: oneOf(0, 9) }),
  },
  { requiredKeys: [] },
);
const ordinary = {
  Address: maybe(address),
  Meta: maybe(fc.record({ version: oneOf('v1', 'v2', 'v3') })),
  Tags: maybe(fc.subarray(['blue', 'green'])),
  Weights: maybe(fc.record({ Passing: oneOf(0, 1, 5, 128, 129), Warning: oneOf(0, 1, 3, 200) })),
  TaggedAddresses: maybe(tagged),
};

function nodeOf(Node: string): fc.Arbitrary<Readonly<Record<string, unknown>>> {
  return fc.record({
    Node: fc.constant(Node),
    Address: address,
    TaggedAddresses: maybe(fc.record({ lan: address, wan: address }, { requiredKeys: [] })),
    NodeMeta: maybe(fc.record({ rack: oneOf('r1', 'r2') })),
  });
}

function serviceName(turn: number): fc.Arbitrary<string> {
  return oneOf(...SERVICES.map((name) => `${name}-${turn}`));
}

/**
 * An application, its sidecar, both, one with native Connect, a terminating gateway, each also registered through an
 * agent.
 */
function instancesOf(turn: number): readonly fc.Arbitrary<readonly Write[]>[] {
  const on = oneOf(...NODES.map((node) => `${node}-${turn}`));
  const name = serviceName(turn);
  const copy = oneOf(1, 2);
  const checks = fc.array(status, { maxLength: 2 });
  const location = { on, name, copy, checks, more: fc.record(ordinary) };
  const app = { Port: 80 };
  const proxy = (DestinationServiceName: string): object => ({
    Kind: 'connect-proxy',
    Port: 20_000,
    Proxy: { DestinationServiceName },
  });
  return [
    fc.record(location).map((at) => [instance(at, at.name, app)]),
    fc.record(location).map((at) => [instance(at, `${at.name}-sidecar-proxy`, proxy(at.name))]),
    fc
      .record(location)
      .map((at) => [
        instance({ ...at, checks: [] }, at.name, app),
        instance(at, `${at.name}-sidecar-proxy`, proxy(at.name)),
      ]),
    fc.record({ ...location, other: name }).map((at) => [instance(at, at.other, proxy(at.name))]),
    fc.record(location).map((at) => [instance(at, at.name, { Port: 443, Connect: { Native: true } })]),
    fc
      .record({ ...location, name: oneOf(`tgw-${turn}`, `TGW2-${turn}`) })
      .map((at) => [instance(at, at.name, { Kind: 'terminating-gateway', Port: 8_500 })]),
    fc.record({ name, Status: status, more: fc.record({ ...ordinary, Weights: fc.constant(undefined) }) }).map((at) => [
      put('agent/service/register', {
        ...at.more,
        Name: at.name,
        // Of its own for each service: Consul 1.8 keeps sending Envoy a service whose registration another one replaces.
        ID: `agent-${at.name}`,
        Port: 80,
        Connect: { SidecarService: { Port: 21_000, Check: { TTL: '1h', Status: at.Status } } },
      }),
    ]),
  ];
}

interface Location {
  readonly on: string;
  readonly copy: number;
  readonly checks: readonly string[];
  readonly more: object;
}

function instance({ on, copy, checks, more }: Location, Service: string, what: object): Write {
  // A different destination service is a different instance: Consul 1.8 would send both to Envoy.
  const ID = `${Service}-${createHash('sha1').update(JSON.stringify(what)).digest('hex').slice(0, 8)}-${copy}`;
  return put('catalog/register', {
    Node: on,
    SkipNodeUpdate: true,
    Service: { ...more, ID, Service, ...what },
    Checks: checks.map((Status, at) => ({ Node: on, CheckID: `${ID}-${at}`, Name: 'up', ServiceID: ID, Status })),
  });
}

function nodeCheck(turn: number): fc.Arbitrary<Write> {
  return fc.record({ node: oneOf(...NODES), Status: status }).map(({ node, Status }) =>
    put('catalog/register', {
      Node: `${node}-${turn}`,
      SkipNodeUpdate: true,
      Check: { CheckID: 'node-up', Name: 'node up', Status },
    }),
  );
}

/** Redirects and failover are included, although a gateway leaves those to the dialling proxy. */
function resolver(turn: number): fc.Arbitrary<Write> {
  const subset = fc.record({ Filter: oneOf(...FILTERS), OnlyPassing: fc.boolean() });
  const subsets = fc.dictionary(oneOf(...SUBSETS), subset, { maxKeys: 3 });
  const ConnectTimeout = maybe(oneOf('2s', '250ms', '1m30s', '1.5s', '0s'));
  const choosing = fc.record({ Subsets: subsets, ConnectTimeout, at: fc.nat(), failover: fc.boolean() });
  const Redirect = fc.record({ Service: fc.constant('elsewhere'), Datacenter: maybe(fc.constant('dc2')) });
  const what = fc.oneof(
    {
      weight: 4,
      arbitrary: choosing.map(({ at, failover, ...chosen }) => ({
        ...chosen,
        DefaultSubset: [undefined, ...Object.keys(chosen.Subsets)][at % (Object.keys(chosen.Subsets).length + 1)],
        Failover: failover ? { '*': { Datacenters: ['dc2'] } } : undefined,
      })),
    },
    { weight: 1, arbitrary: fc.record({ Redirect }) },
  );
  return fc
    .tuple(serviceName(turn), what)
    .map(([Name, entry]) => put('config', { Kind: 'service-resolver', Name, ...entry }));
}

function links(turn: number): fc.Arbitrary<Write> {
  const Services = fc.oneof(
    fc.constant([{ Name: '*' }]),
    fc.uniqueArray(serviceName(turn), { minLength: 1, maxLength: 3 }).map((names) => names.map((Name) => ({ Name }))),
  );
  return fc
    .tuple(oneOf(`tgw-${turn}`, `TGW2-${turn}`), Services)
    .map(([Name, linked]) => put('config', { Kind: 'terminating-gateway', Name, Services: linked }));
}

/** Opaque settings as users and tools write them, including those for other proxies. */
const truth = oneOf<unknown>(true, false, 'true', 'false', '1', '0', 1, 0, 't', 'TRUE', [true], ['true'], '');
const bindAddress = fc
  .tuple(oneOf('127.0.0.1', '::1', '0.0.0.0', '198.17.2.3'), fc.integer({ min: 8_000, max: 8_004 }), fc.nat())
  .map(([host, port, form]) => {
    const forms: readonly unknown[] = [
      { Address: host, Port: port },
      { address: host, port },
      { Address: host, Port: String(port) },
      [{ Address: host, Port: port }],
      { ADDRESS: host, PORT: port },
      { Address: [host], Port: [port] },
    ];
    return forms[form % forms.length];
  });
const bindAddresses = fc.dictionary(oneOf('foo', 'bar', 'default', 'lan'), bindAddress, { maxKeys: 4 });
const gatewayConfig = fc
  .record({
    old: fc.boolean(),
    no_default_bind: maybe(truth),
    bind_tagged_addresses: maybe(truth),
    bind_addresses: maybe(fc.oneof<fc.Arbitrary<unknown>[]>(bindAddresses, fc.tuple(bindAddresses))),
    others: fc.record(
      {
        connect_timeout_ms: oneOf<unknown>(1_234, '1234', [777], 0, '0', -5),
        envoy_dns_discovery_type: oneOf<unknown>('strict_dns', 'STRICT_DNS', 'logical_dns', 5),
        protocol: fc.constant('http'),
        bind_address: fc.constant('9.9.9.9'),
        envoy_prometheus_bind_addr: fc.constant('0.0.0.0:9102'),
      },
      { requiredKeys: [] },
    ),
  })
  .map(({ old, others, ...bound }) => ({
    ...others,
    ...Object.fromEntries(
      Object.entries(bound).map(([key, value]) => [`envoy_${old ? 'mesh_' : ''}gateway_${key}`, value]),
    ),
  }));

function ownGateway(turn: number): fc.Arbitrary<Write> {
  const addresses = {
    lan: fc.record({ Address: fc.constant('10.1.1.1'), Port: fc.constant(8_443) }),
    wan: fc.record({ Address: oneOf('198.18.0.1', 'gw.example.com'), Port: fc.constant(443) }),
  };
  return fc
    .record({
      Port: oneOf(443, 8_443),
      Address: maybe(oneOf('127.0.0.1', '::1', '10.1.1.1')),
      TaggedAddresses: maybe(fc.record(addresses, { requiredKeys: [] })),
      Meta: maybe(fc.record({ 'consul-wan-federation': oneOf('1', '1', 'true') })),
      Config: gatewayConfig,
    })
    .map(({ Config, ...registration }) =>
      put('agent/service/register', {
        ...registration,
        Name: 'gateway',
        ID: GATEWAY,
        Kind: 'mesh-gateway',
        // A different definition each time: Consul 1.8 then starts over, and drops services that it would otherwise
        // send to Envoy indefinitely.
        Proxy: { Config: { ...Config, turn } },
      }),
    );
}

function remoteGateway(): fc.Arbitrary<Write> {
  return fc
    .record({
      copy: oneOf(1, 2, 3),
      Name: oneOf('edge', 'Other'),
      Address: maybe(address),
      TaggedAddresses: maybe(tagged),
      Weights: maybe(fc.record({ Passing: oneOf(1, 5), Warning: oneOf(1, 3) })),
      Check: maybe(fc.record({ TTL: fc.constant('1h'), Status: status })),
    })
    .map(({ copy, ...registration }) => ({
      ...put('agent/service/register', {
        ...registration,
        ID: `edge-${copy}`,
        Kind: 'mesh-gateway',
        Port: 8_443,
      }),
      datacenter: 'dc2',
    }));
}

interface Parts {
  readonly nodes: readonly Readonly<Record<string, unknown>>[];
  readonly instances: readonly (readonly Write[])[];
  readonly nodeChecks: readonly Write[];
  readonly resolvers: readonly Write[];
  readonly linked: readonly Write[];
  readonly proxyDefaults: object | null;
  readonly own: Write;
  readonly remote: readonly Write[];
}

function writesOf({
  nodes,
  instances,
  nodeChecks,
  resolvers,
  linked,
  proxyDefaults,
  own,
  remote,
}: Parts): readonly Write[] {
  const defaults =
    proxyDefaults === null ? [] : [put('config', { Kind: 'proxy-defaults', Name: 'global', Config: proxyDefaults })];
  const onNodes = nodes.map((node) => put('catalog/register', node));
  return [...remote, ...onNodes, ...instances.flat(), ...nodeChecks, ...resolvers, ...linked, ...defaults, own];
}

function markerWrites(turn: number): readonly Write[] {
  const { service, port } = marker(turn);
  const gateway = { ID: 'marker', Name: 'marker', Kind: 'mesh-gateway', Address: '10.250.0.2', Port: port };
  const register = { ...put('agent/service/register', gateway), datacenter: 'dc2' } as const;
  const native = { ID: service, Service: service, Port: port, Connect: { Native: true } };
  return [
    ...(changesRemote(turn) ? [register] : []),
    put('config', { Kind: 'service-resolver', Name: service, ConnectTimeout: `${port}ms` }),
    put('catalog/register', { Node: service, Address: '10.250.0.1', Service: native }),
  ];
}

function removalOf(turn: number, { resolvers, linked, instances }: Parts): readonly Write[] {
  const entries = [...resolvers, ...linked].map(
    ({ body = {} }) => body as { readonly Kind: string; readonly Name: string },
  );
  const registered = instances.flat().filter(({ path }) => path === 'agent/service/register');
  const ids = new Set(registered.map(({ body = {} }) => String(body['ID'])));
  return [
    ...[...NODES.map((node) => `${node}-${turn}`), marker(turn).service].map((Node) =>
      put('catalog/deregister', { Node }),
    ),
    ...Array.from(ids, (id) => put(`agent/service/deregister/${encodeURIComponent(id)}`)),
    ...[...entries, { Kind: 'service-resolver', Name: marker(turn).service }].map(({ Kind, Name }) => ({
      ...put(`config/${Kind}/${encodeURIComponent(Name)}`),
      method: 'DELETE' as const,
    })),
    { ...put('config/proxy-defaults/global'), method: 'DELETE' },
  ];
}

function put(path: string, body?: Write['body']): Write {
  return { datacenter: 'dc1', method: 'PUT', path, ...(body === undefined ? {} : { body }) };
}
