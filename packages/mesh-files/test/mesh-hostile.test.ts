import { deriveRoutes } from '@meshgate/mesh';
import { expect, it } from 'vitest';
import { atOnce } from '@meshgate/core/parts';
import { buildMesh, meshProxyView } from '../src/mesh.ts';
import { parseMeshFile } from '../src/mesh-file.ts';
import { PRIMARY } from './mesh-folder.ts';

const SERVICES = {
  services: [
    {
      name: 'web',
      id: 'web',
      port: 1,
      address: 'a',
      tags: ['t'],
      meta: { version: 'v1' },
      weights: { passing: 1, warning: 1 },
      tagged_addresses: { wan: { address: 'b', port: 2 } },
      check: { name: 'c', status: 'passing' },
      connect: {
        sidecar_service: {
          port: 3,
          proxy: {
            mesh_gateway: { mode: 'local' },
            config: { bind_port: 4, connect_timeout_ms: 5 },
            upstreams: [
              {
                destination_name: 'api',
                datacenter: 'primary',
                local_bind_port: 6,
                mesh_gateway: { mode: 'remote' },
                config: { connect_timeout_ms: 7 },
              },
            ],
          },
        },
      },
    },
    {
      name: 'gateway',
      kind: 'mesh-gateway',
      port: 8,
      proxy: { config: { envoy_gateway_bind_addresses: { x: { address: 'y', port: 9 } } } },
    },
  ],
};

const ENTRIES = [
  { Kind: 'proxy-defaults', Name: 'global', MeshGateway: { Mode: 'local' }, Config: { connect_timeout_ms: 1 } },
  {
    Kind: 'service-defaults',
    Name: 'web',
    ExternalSNI: 'x.example',
    UpstreamConfig: { Defaults: { MeshGateway: { Mode: 'none' } }, Overrides: [{ Name: 'api', ConnectTimeoutMs: 3 }] },
  },
  {
    Kind: 'service-resolver',
    Name: 'api',
    ConnectTimeout: '1s',
    DefaultSubset: 'v1',
    Subsets: { v1: { Filter: 'Service.ID == x', OnlyPassing: true } },
    Failover: { '*': { Datacenters: ['primary'], Targets: [{ Service: 'db' }] } },
    LoadBalancer: { Policy: 'random' },
  },
  { Kind: 'service-resolver', Name: 'db', Redirect: { Service: 'api', ServiceSubset: 'v1' } },
  { Kind: 'service-intentions', Name: 'web', Sources: [{ Name: '*', Action: 'deny', Permissions: [{}] }] },
];

/** Invalid values that a careless program may write. */
const ODD: readonly unknown[] = [
  null,
  true,
  5,
  -1,
  1e99,
  '',
  'x',
  '__proto__',
  'constructor',
  [],
  {},
  [[]],
  [{}],
  [{}, {}],
  { '': null },
  // Parsed: in an object literal `__proto__` would set the prototype instead of a key.
  JSON.parse('{ "__proto__": { "polluted": 1 } }'),
];

it('any value in any position of a mesh file is accepted or rejected, without an exception', () => {
  const samples = [SERVICES, ...ENTRIES].flatMap((value) => [...altered(value)]);
  expect(samples.length).toBeGreaterThan(1_000);
  for (const text of samples) {
    const file = parseMeshFile(text, 'a.json');
    const { mesh } = atOnce(buildMesh(new Map([['primary', [file]]]), PRIMARY, '1'));
    const catalog = mesh.catalogs.get('primary');
    if (catalog !== undefined) deriveRoutes(catalog, { wanFederation: false });
    for (const id of mesh.proxies.keys()) meshProxyView(mesh, id);
    for (const { at } of file.problems) expect(at?.file).toBe('a.json');
  }
  expect(Reflect.get({}, 'polluted')).toBeUndefined();
});

/** The value as JSON, with each part of it in turn replaced by each odd value. */
function* altered(value: unknown): Generator<string, void, void> {
  for (const odd of ODD) yield JSON.stringify(odd);
  if (typeof value !== 'object' || value === null) return;
  for (const [key, part] of Object.entries(value))
    for (const text of altered(part)) yield JSON.stringify(value, replacing(value, key, text));
}

/** Replaces one property of `owner` at any depth. */
function replacing(owner: object, key: string, text: string) {
  return function (this: unknown, at: string, part: unknown): unknown {
    return this === owner && at === key ? (JSON.parse(text) as unknown) : part;
  };
}

it('a block of many keys takes linear time', () => {
  const timeOf = (keys: number): number => {
    const lines = Array.from({ length: keys }, (_, index) => `k${index} = "v"\n`).join('');
    const before = performance.now();
    parseMeshFile(`service {\n name = "a"\n meta {\n${lines}}\n}\n`, 'x.hcl');
    return performance.now() - before;
  };
  timeOf(1_000);
  const few = Math.min(timeOf(2_000), timeOf(2_000));
  // Linear would be a factor of 8, quadratic a factor of 64.
  expect(timeOf(16_000) / few).toBeLessThan(32);
});

it('endless labels are rejected before the stack overflows', () => {
  expect(parseMeshFile('"'.repeat(100_000), 'x.hcl').problems).toEqual([
    expect.objectContaining({ message: expect.stringContaining('nested') as string }),
  ]);
});
