// Mesh files are in the format of Consul's own commands. Here both readers get the same files: the commands of a real
// Consul, and the reader of mesh files. The table lists where they differ.
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Filterable, openHcl, parseFilter, readMesh } from '@meshgate/mesh-files';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { folder } from '../daemon.ts';
import type { Folder } from '../daemon.ts';
import { consulBinary, consulMinor, describeWithConsul, startConsul } from './agent.ts';
import type { ConsulAgent } from './agent.ts';

const run = promisify(execFile);
const MESH = { datacenter: 'primary', trustDomain: '11111111-2222-3333-4444-555555555555.consul' };

/** A proxy with an opaque setting, which may be any HCL value. */
const HOLDER = 'kind = "connect-proxy", port = 1';

/** HCL texts for a value, which both read in the same way. */
const VALUES: readonly (readonly [claim: string, text: string])[] = [
  ['a whole number', '8080'],
  ['a number below zero', '-1'],
  ['a hexadecimal number', '0x1F'],
  ['an octal number', '007'],
  ['a fraction', '1.5'],
  ['a number with a bare point', '.5'],
  ['an exponent', '-1.5e3'],
  ['a truth', 'true'],
  ['a text', '"a"'],
  ['an empty text', '""'],
  ['escapes', String.raw`"\n\t\\\" \u00e9 \U0001F600 \x41 \101"`],
  ['an interpolation', '"x${ f("y") }z"'],
  ['text of other alphabets', '"größe 世界 😀"'],
  ['a heredoc', '<<EOF\none\n  two\nEOF\n'],
  ['an indented heredoc', '<<-EOF\n    one\n      two\n    EOF\n'],
  ['a heredoc in which nothing has a meaning', '<<EOF\n"quoted" # no comment \\n\nEOF\n'],
  ['a list', '[1, "a", true]'],
  ['a list with a comma at its end', '[1, 2, ]'],
  ['a list over several lines, with comments of all kinds', '[ # x\n 1, // y\n /* z */ 2\n]'],
  ['lists in lists', '[[1], [2, [3]]]'],
  ['an empty list', '[]'],
];

/** Both accept it, and read the same. */
const ACCEPTED: readonly (readonly [claim: string, ending: 'hcl' | 'json', text: string])[] = [
  ['a service', 'hcl', 'service { name = "NAME" port = 8080 }'],
  ['keys as Go writes them', 'hcl', 'Service { Name = "NAME" Port = 8080 }'],
  ['services in a list, with a comma at its end', 'hcl', 'services = [ { name = "NAME", port = 8080 }, ]'],
  ['services by blocks', 'hcl', 'services { name = "NAME" }'],
  ['a service by an equals sign', 'hcl', 'service = { name = "NAME", meta = { a = "1" } }'],
  ['a name of another alphabet', 'hcl', 'service { name = "NAME-größe" }'],
  ['comments of all three kinds', 'hcl', '# one\n// two\n/* three\n*/ service { name = "NAME" /* four */ } # five'],
  ['line breaks of Windows', 'hcl', 'service {\r\n  name = "NAME"\r\n}\r\n'],
  ['a text without a line break at its end', 'hcl', 'service {\n name = "NAME"\n}'],
  [
    'blocks in the objects of a list',
    'hcl',
    `service { name = "NAME", ${HOLDER}, proxy { destination_service_name = "web", upstreams = [
      { destination_name = "a", local_bind_port = 1, mesh_gateway { mode = "local" } },
      { destination_name = "b", local_bind_port = 2, mesh_gateway { mode = "none" } },
    ] } }`,
  ],
  [
    'a sidecar',
    'hcl',
    'service { name = "NAME", port = 1, connect { sidecar_service { port = 7, proxy { mesh_gateway { mode = "local" } } } } }',
  ],
  ['JSON', 'json', '{ "service": { "name": "NAME", "port": 8080 } }'],
  ['JSON with keys as Go writes them', 'json', '{ "Services": [ { "Name": "NAME", "Port": 8080, "Tags": null } ] }'],
  ['JSON in a file that says HCL', 'hcl', '{ "service": { "name": "NAME" } }'],
];

/** Filters of a subset: each selects the same instances in both, or is rejected by both. */
const FILTERS: readonly string[] = [
  'Service.Meta.version == v1',
  'Service.Meta.version != v1',
  'Service.Meta.nothing == x',
  'Service.Meta.nothing != x',
  'Service.Meta.nothing not matches "x"',
  'Service.Meta["a-b"] == x',
  'Service.Meta.a-b == x',
  'Service.Meta.version == "v\\"1"',
  'Service.Meta.version matches "v[12]"',
  'Service.Meta.version not matches "v[12]"',
  'Service.Meta.version contains 1',
  '"1" in Service.Meta.version',
  'not Service.Meta.version == v1',
  'version in Service.Meta',
  'Service.Meta contains version',
  'Service.Meta not contains version',
  'Service.Meta is empty',
  'Service.Meta.k is empty',
  '"t2" in Service.Tags',
  '"t2" not in Service.Tags',
  'Service.Tags is empty',
  'Service.Tags is not empty',
  'Service.Tags == x',
  'Service.ID == p1 or Service.ID == p2 and Service.ID == p3',
  'not Service.ID == p1 and Service.ID == p2',
  'not (Service.ID == p1 or Service.ID == p2)',
  'Service.ID == p1 AND Service.ID == p2',
  'Service.Kind == `connect-proxy`',
  'Service.Port == 20',
  'Service.Port != 20',
  'Service.Port == x',
  'Service.Port matches "2"',
  'Service.Nope == x',
  'Service.Weights.Passing == 3',
  'Service.TaggedAddresses.wan.Port == 1',
  'Service.TaggedAddresses.wan.Port != 1',
  'Service.Proxy.DestinationServiceName == db',
  'Service.Address == ""',
  'Checks.Status == passing',
  'Checks.Status != passing',
  'Checks.Status == critical',
  'Checks is empty',
  'Node.Datacenter == dc1',
];

type Verdict = 'both' | 'neither' | 'Consul alone' | 'mesh files alone';

/**
 * Which of them accepts a text. What only Consul accepts it ignores silently; what only mesh files accept is
 * unambiguous.
 */
const JUDGED: readonly (readonly [claim: string, ending: 'hcl' | 'json', text: string, verdict: Verdict])[] = [
  ['an entry', 'hcl', 'Kind = "proxy-defaults"\nName = "global"\nMeshGateway {\n   Mode = "local"\n}', 'both'],
  ['an entry in snake case', 'hcl', 'kind = "service-defaults"\nname = "a"\nmesh_gateway { mode = "none" }', 'both'],
  ['an empty mode', 'hcl', 'Kind = "service-defaults"\nName = "a"\nMeshGateway { Mode = "" }', 'both'],
  [
    'an entry in JSON',
    'json',
    '{ "Kind": "service-defaults", "Name": "a", "MeshGateway": { "Mode": "local" } }',
    'both',
  ],
  [
    'a resolver',
    'hcl',
    'Kind = "service-resolver"\nName = "b"\nConnectTimeout = "15s"\nSubsets = { v1 = { Filter = "Service.Meta.v == 1" } }',
    'both',
  ],
  [
    'a resolver whose subset has a label',
    'hcl',
    'Kind = "service-resolver"\nName = "b"\nSubsets "v1" { OnlyPassing = "true" }',
    'both',
  ],
  ['no equals sign', 'hcl', 'service { name "a" }', 'neither'],
  ['an open brace', 'hcl', 'service { name = "a"', 'neither'],
  ['a brace too many', 'hcl', 'service { name = "a" } }', 'neither'],
  ['a text without quotes', 'hcl', 'service { name = a }', 'neither'],
  ['null', 'hcl', 'service { name = null }', 'neither'],
  ['a text over two lines', 'hcl', 'service { name = "a\nb" }', 'neither'],
  ['a list without commas', 'hcl', 'service { name = "a", tags = [ "b" "c" ] }', 'neither'],
  ['a list of nothing but a comma', 'hcl', 'service { name = "a", tags = [ , ] }', 'Consul alone'],
  ['an octal number that is none', 'hcl', 'service { name = "a", port = 08 }', 'neither'],
  ['a comment without an end', 'hcl', '/* service { name = "a" }', 'neither'],
  ['a heredoc without an end', 'hcl', 'service { name = <<EOF\na\n}', 'neither'],
  ['a semicolon', 'hcl', 'service { name = "a"; port = 1 }', 'neither'],
  ['an unknown key', 'hcl', 'service { name = "a", prot = 1 }', 'neither'],
  ['a number as a text', 'hcl', 'service { name = "a", port = "8080" }', 'neither'],
  ['a text as a number', 'hcl', 'service { name = 7 }', 'neither'],
  ['a text as a list', 'hcl', 'service { name = "a", tags = "b" }', 'mesh files alone'],
  ['a number as meta data', 'hcl', 'service { name = "a", meta { version = 1 } }', 'neither'],
  ['a service without a name', 'hcl', 'service { port = 1 }', 'neither'],
  ['a service by a label', 'hcl', 'service "a" { port = 1 }', 'neither'],
  ['a proxy without a destination', 'hcl', `service { name = "a", ${HOLDER}, proxy {} }`, 'neither'],
  [
    'two upstreams on one port',
    'hcl',
    `service { name = "a", ${HOLDER}, proxy { destination_service_name = "w", upstreams = [
    { destination_name = "b", local_bind_port = 9 }, { destination_name = "c", local_bind_port = 9 } ] } }`,
    'neither',
  ],
  ['an entry of an unknown kind', 'hcl', 'Kind = "Proxy-Defaults"\nName = "global"', 'neither'],
  [
    'an unknown key of an entry',
    'hcl',
    'Kind = "proxy-defaults"\nName = "global"\nMeshGatewy { Mode = "local" }',
    'neither',
  ],
  [
    'a subset with a name that DNS cannot have',
    'hcl',
    'Kind = "service-resolver"\nName = "b"\nSubsets { v_1 {} }',
    'neither',
  ],
  ['JSON with a comma at its end', 'json', '{ "service": { "name": "a" }, }', 'neither'],
  ['JSON with a comment', 'json', '// c\n{ "service": { "name": "a" } }', 'neither'],
  ['HCL in a file that says JSON', 'json', 'service { name = "a" }', 'neither'],
  [
    'a mode in capitals, which Consul takes for none',
    'hcl',
    'Kind = "proxy-defaults"\nName = "global"\nMeshGateway { Mode = "Local" }',
    'Consul alone',
  ],
  [
    'an unknown mode',
    'hcl',
    'Kind = "service-defaults"\nName = "a"\nMeshGateway { Mode = "sideways" }',
    'Consul alone',
  ],
  ['a key that is set twice', 'hcl', 'service { name = "a", port = 1, port = 2 }', 'Consul alone'],
  ['a port that there is not', 'hcl', 'service { name = "a", port = 99999 }', 'Consul alone'],
  [
    'proxy-defaults that nobody reads',
    'hcl',
    'Kind = "proxy-defaults"\nName = "other"',
    consulMinor < 9 ? 'Consul alone' : 'neither',
  ],
  [
    'a kind in capitals, which Consul does not know',
    'hcl',
    'service { name = "a", kind = "Connect-Proxy", port = 1, proxy { destination_service_name = "w" } }',
    'Consul alone',
  ],
  [
    'several services by one name of a block',
    'hcl',
    'service { name = "a" }\nservice { name = "b" }',
    'mesh files alone',
  ],
  [
    'keys in the spelling of the API within a definition',
    'hcl',
    `service { name = "a", ${HOLDER}, proxy { DestinationServiceName = "web" } }`,
    'mesh files alone',
  ],
  ['a mode that is a number', 'hcl', 'Kind = "service-defaults"\nName = "a"\nMeshGateway { Mode = 1 }', 'Consul alone'],
  ['a text where a block belongs', 'hcl', 'Kind = "service-defaults"\nName = "a"\nMeshGateway = "local"', 'neither'],
  [
    'two blocks of one mode',
    'hcl',
    'Kind = "service-defaults"\nName = "a"\nMeshGateway { Mode = "local" }\nMeshGateway { Mode = "remote" }',
    'neither',
  ],
  [
    'a kind in both spellings',
    'hcl',
    'Kind = "service-defaults"\nkind = "service-defaults"\nName = "a"',
    consulMinor < 9 ? 'neither' : 'Consul alone',
  ],
  ['a kind and two names', 'hcl', 'Kind = "service-defaults"\nName = "a"\nName = "b"', 'Consul alone'],
  ['an entry without a name', 'hcl', 'Kind = "service-defaults"', 'neither'],
  ['a byte order mark', 'hcl', '\uFEFFservice { name = "a" }', 'mesh files alone'],
  [
    'a duration in bare nanoseconds',
    'hcl',
    'Kind = "service-resolver"\nName = "b"\nConnectTimeout = 15',
    'Consul alone',
  ],
  ['a duration without a unit', 'hcl', 'Kind = "service-resolver"\nName = "b"\nConnectTimeout = "15"', 'neither'],
  [
    'a truth as a text',
    'hcl',
    'Kind = "service-resolver"\nName = "b"\nSubsets { v1 { OnlyPassing = "yes" } }',
    'neither',
  ],
  [
    'an upstream without a port',
    'hcl',
    `service { name = "a", ${HOLDER}, proxy { destination_service_name = "w", upstreams = [ { destination_name = "b" } ] } }`,
    'neither',
  ],
  [
    'an upstream without a name',
    'hcl',
    `service { name = "a", ${HOLDER}, proxy { destination_service_name = "w", upstreams = [ { local_bind_port = 9 } ] } }`,
    'neither',
  ],
  [
    'an upstream of an unknown type',
    'hcl',
    `service { name = "a", ${HOLDER}, proxy { destination_service_name = "w", upstreams = [ { destination_name = "b", destination_type = "servise", local_bind_port = 9 } ] } }`,
    'neither',
  ],
  [
    'a gateway with upstreams',
    'hcl',
    'service { name = "a", kind = "mesh-gateway", port = 1, proxy { upstreams = [ { destination_name = "b", local_bind_port = 9 } ] } }',
    'neither',
  ],
  [
    'a sidecar of a sidecar',
    'hcl',
    'service { name = "a", port = 1, connect { sidecar_service { connect { sidecar_service {} } } } }',
    'neither',
  ],
  ['an empty file', 'hcl', '', 'both'],
];

describeWithConsul('mesh files and the commands of Consul', () => {
  let consul: ConsulAgent;
  let files: Folder;
  let count = 0;

  beforeAll(async () => {
    [consul, files] = await Promise.all([startConsul(), folder({})]);
  }, SET_UP_MS);
  afterAll(async () => {
    await consul[Symbol.asyncDispose]();
    await files[Symbol.asyncDispose]();
  });

  it('represent the same values', async () => {
    const services = VALUES.map(
      ([, text], index) =>
        `{\n name = "v${index}", ${HOLDER}\n proxy {\n destination_service_name = "web"\n config { value = ${text}\n } } },`,
    );
    await consulTakes('hcl', `services = [ ${services.join('\n')} ]`);
    for (const [index, [claim, text]] of VALUES.entries())
      expect([claim, await registered(`v${index}`).then(({ Proxy }) => Proxy?.Config?.['value'])]).toEqual([
        claim,
        valueOf(text),
      ]);
  });

  it.each(ACCEPTED)('take %s, and see the same service', async (_claim, ending, text) => {
    const name = nextName();
    const named = text.replace('NAME', name);
    const id = named.includes(`${name}-größe`) ? `${name}-größe` : name;
    const isSidecar = named.includes('sidecar_service');
    await consulTakes(ending, named);
    const theirs = await registered(isSidecar ? `${id}-sidecar-proxy` : id);
    const { proxies } = await weTake(ending, named);
    const proxy = proxies.get(theirs.ID);
    if (theirs.Proxy === undefined) return expect(proxy).toBeUndefined();
    expect({
      service: proxy?.service,
      port: proxy?.listen.port,
      mode: proxy?.mode?.value,
      upstreams: proxy?.upstreams.map((one) => [one.name, one.bind.port, one.datacenter, one.mode?.value]),
    }).toEqual({
      service: theirs.Proxy.DestinationServiceName,
      port: theirs.Port,
      mode: theirs.Proxy.MeshGateway?.Mode,
      upstreams: (theirs.Proxy.Upstreams ?? []).map((one) => [
        one.DestinationName,
        one.LocalBindPort,
        one.Datacenter || undefined,
        one.MeshGateway?.Mode,
      ]),
    });
  });

  it.each(JUDGED)('%s', async (_claim, ending, text, verdict) => {
    const theirs = await consulTakes(ending, text).then(
      () => true,
      () => false,
    );
    const ours = await weTake(ending, text).then(
      () => true,
      () => false,
    );
    expect({ theirs, ours }).toEqual({
      theirs: verdict === 'both' || verdict === 'Consul alone',
      ours: verdict === 'both' || verdict === 'mesh files alone',
    });
  });

  it('select the same instances by every filter, or refuse it', async () => {
    await register('p1', { version: 'v1' }, ['t1']);
    await register('p2', { version: 'v2', 'a-b': 'x' }, ['t2', 'blue']);
    await register('p3', { version: 'v3' }, []);
    await register('p4', {}, []);
    const all = (await consul.send('GET', 'health/connect/db')) as readonly Filterable[];
    for (const filter of FILTERS) {
      const parsed = parseFilter(filter);
      const own = parsed.kind === 'refused' ? 'refused' : idsOf(all.filter((one) => parsed.selects(one)));
      const response = await consul.send('GET', `health/connect/db?filter=${encodeURIComponent(filter)}`).then(
        (found) => idsOf(found as readonly Filterable[]),
        () => 'refused',
      );
      expect(`${filter}: ${own}`).toBe(`${filter}: ${response}`);
    }
  });

  async function register(id: string, meta: Readonly<Record<string, string>>, tags: readonly string[]): Promise<void> {
    const kind = { Kind: 'connect-proxy', Proxy: { DestinationServiceName: 'db' } };
    const rest = { Port: 20, Meta: meta, Tags: tags, Weights: { Passing: 3, Warning: 1 } };
    await consul.send('PUT', 'agent/service/register', { ID: id, Name: 'db-proxy', ...kind, ...rest });
  }

  function idsOf(found: readonly Filterable[]): string {
    const ids = found.map(({ Service }) => String(Service['ID']));
    return ids.toSorted().join(' ');
  }

  function nextName(): string {
    count += 1;
    return `t${count}`;
  }

  function registered(id: string): Promise<Registered> {
    return consul.send('GET', `agent/service/${encodeURIComponent(id)}`) as Promise<Registered>;
  }

  /** Rejects when the command rejects the text. */
  async function consulTakes(ending: string, text: string): Promise<void> {
    const file = join(files.path, `${nextName()}.${ending}`);
    writeFileSync(file, text);
    const isEntry = /^\W*kind\W/im.test(text) && !/service\w*\W+\{/i.test(text.split('\n')[0] ?? '');
    const command = isEntry ? ['config', 'write'] : ['services', 'register'];
    await run(consulBinary, [...command, `-http-addr=${consul.address}`, file]);
  }

  /** Rejects with the problem. */
  function weTake(ending: string, text: string): ReturnType<typeof readMesh> {
    const path = join(files.path, nextName());
    mkdirSync(join(path, MESH.datacenter), { recursive: true });
    writeFileSync(join(path, MESH.datacenter, `a.${ending}`), text);
    return readMesh(path, MESH);
  }
});

const SET_UP_MS = 60_000;

function valueOf(text: string): unknown {
  const { root } = openHcl(`value = ${text}\n`, 'a.hcl') as { readonly root: { plain(): unknown } };
  return (root.plain() as { readonly value: unknown }).value;
}

/** As the agent shows a service. */
interface Registered {
  readonly ID: string;
  readonly Port: number;
  readonly Proxy?: {
    readonly DestinationServiceName: string;
    readonly Config?: Readonly<Record<string, unknown>>;
    readonly MeshGateway?: { readonly Mode?: string };
    readonly Upstreams?: readonly {
      readonly DestinationName: string;
      readonly LocalBindPort: number;
      readonly Datacenter?: string;
      readonly MeshGateway?: { readonly Mode?: string };
    }[];
  };
}
