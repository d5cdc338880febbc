import { formatProblem } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { type Mesh, readMesh } from '../src/index.ts';
import { parseMeshFile } from '../src/mesh-file.ts';
import { meshFolder, type MeshFileContents, PRIMARY } from './mesh-folder.ts';

const DB = `service {
  name = "db"
  port = 5432
  connect { sidecar_service { port = 21001 } }
}
`;

describe('a file of an agent configuration folder is a mesh file', () => {
  it.each<[string, string, string]>([
    [
      'a service beside the name of a node',
      'a.json',
      '{ "node_name": "n1", "service": { "name": "db", "port": 5432, "connect": { "sidecar_service": { "port": 21001 } } } }',
    ],
    [
      'a service beside settings of a server',
      'a.hcl',
      `server = true\nbootstrap_expect = 3\nports { grpc = 8502 }\n${DB}`,
    ],
    ['keys as Go writes them', 'a.hcl', `NodeName = "n1"\nACL { Enabled = true }\n${DB}`],
    ['watches and access control', 'a.hcl', `acl { tokens { agent = "x" } }\nwatches = [ { type = "checks" } ]\n${DB}`],
  ])('%s', async (_claim, file, text) => {
    const mesh = await meshOf({ [`primary/${file}`]: text });
    expect(backends(mesh)).toEqual({ db: ['127.0.0.1:21001 passing'] });
    expect(mesh.warnings).toHaveLength(1);
    expect(mesh.warnings[0]).toContain("settings of Consul's agent have no effect here: ");
  });

  it('also one without anything about a mesh, in one line with its settings', () => {
    const text =
      'datacenter = "dc1"\ndata_dir = "/opt/consul"\nretry_join = [ "provider=aws" ]\ntelemetry { disable_hostname = true }';
    expect(shown(text)).toEqual({
      problems: [],
      warnings: [
        "a.hcl:1:1: settings of Consul's agent have no effect here: datacenter, data_dir, retry_join, telemetry",
      ],
    });
  });

  it.each([
    ['servce { name = "db" }', 'a.hcl:1:1: servce: unknown key "servce": did you mean "service"?'],
    ['chek { }', 'a.hcl:1:1: chek: unknown key "chek": did you mean "check"?'],
    ['config_entrys { }', 'a.hcl:1:1: config_entrys: unknown key "config_entrys": did you mean "config_entries"?'],
  ])('but a misspelled key is a mistake: %s', (text, problem) => {
    expect(shown(text).problems).toEqual([problem]);
  });
});

describe('a check at the top of a file', () => {
  const check = (rest: string): string =>
    `${DB}check {\n  id = "db-up"\n  name = "db up"\n  tcp = "127.0.0.1:5432"\n  interval = "10s"\n${rest}}\n`;

  it.each([
    [
      'holds for the service that it names, and so for its sidecar',
      check('  service_id = "db"\n  status = "critical"\n'),
      'critical',
    ],
    ['is passing when it does not say its status', check('  service_id = "db"\n'), 'passing'],
    [
      'may stand in a list',
      `${DB}checks = [ { name = "one", service_id = "db", status = "warning" }, { name = "two", ServiceID = "db" } ]`,
      'warning passing',
    ],
  ])('%s', async (_claim, text, statuses) => {
    const mesh = await meshOf({ 'primary/db.hcl': text });
    const found = mesh.catalogs.get('primary')?.services[0]?.instances[0]?.checks ?? [];
    expect(found.map(({ status }) => status).join(' ')).toBe(
      statuses.includes('passing passing') ? 'passing' : statuses,
    );
    expect(mesh.warnings).toEqual([]);
  });

  it('is visible to filters, with its name and its notes', async () => {
    const mesh = await meshOf({
      'primary/db.hcl': check('  service_id = "db"\n  notes = "of the disk"\n'),
      'primary/r.hcl': `Kind = "service-resolver"\nName = "db"\nSubsets {
        named { Filter = "Checks.Name == \\"db up\\" and Checks.Notes == \\"of the disk\\"" }
        none { Filter = "Checks.Name == other" }
      }`,
    });
    const { named, none } = mesh.catalogs.get('primary')?.services[0]?.selections ?? {};
    expect([named, none]).toMatchObject([{ instances: [{ id: 'db-sidecar-proxy' }] }, { instances: [] }]);
  });

  it('has no effect, and reports it, when its service does not exist, or it names none', async () => {
    const folder = await meshFolder({
      'primary/a.hcl': 'check { name = "x", service_id = "nobody", status = "critical" }',
      'primary/b.hcl': 'check { name = "x", status = "critical" }',
    });
    expect((await readMesh(folder, PRIMARY)).warnings).toEqual([
      `${folder}/primary/b.hcl:1:7: check: this check has no effect: it names no service_id, and mesh files have no nodes`,
      `${folder}/primary/a.hcl:1:7: check: this check has no effect: there is no service nobody`,
    ]);
  });
});

describe('config_entries are entries like those in files of their own', () => {
  it.each<[string, string, string]>([
    [
      'a block',
      'a.hcl',
      'config_entries {\n bootstrap {\n Kind = "proxy-defaults"\n Name = "global"\n MeshGateway { Mode = "local" }\n }\n}',
    ],
    [
      'a list',
      'a.hcl',
      'config_entries { bootstrap = [ { kind = "proxy-defaults", name = "global", mesh_gateway { mode = "local" } }, ] }',
    ],
    [
      'repeated blocks',
      'a.hcl',
      `config_entries {
        bootstrap { kind = "service-defaults", name = "web" }
        bootstrap { kind = "proxy-defaults", name = "global", mesh_gateway = { mode = "local" } }
      }`,
    ],
    [
      'an object',
      'a.hcl',
      'config_entries = { bootstrap = [ { Kind = "proxy-defaults", MeshGateway = { Mode = "local" } } ] }',
    ],
    [
      'a list of one block',
      'a.json',
      '{ "config_entries": [ { "bootstrap": [ { "kind": "proxy-defaults", "name": "global", "mesh_gateway": [ { "mode": "local" } ] } ] } ] }',
    ],
    [
      'a single one in JSON',
      'a.json',
      '{ "config_entries": { "bootstrap": { "Kind": "proxy-defaults", "Name": "global", "MeshGateway": { "Mode": "local" } } } }',
    ],
  ])('%s', async (_claim, file, text) => {
    const mesh = await meshOf({ [`primary/${file}`]: text });
    expect([mesh.entries.proxyDefaults?.mode?.value, mesh.warnings]).toEqual(['local', []]);
  });

  it('with mistakes at their positions', () => {
    expect(
      shown('config_entries {\n  bootstrap {\n    Kind = "proxy-defaults"\n    MeshGateway { Mode = "far" }\n  }\n}')
        .problems,
    ).toEqual(['a.hcl:4:26: config_entries.bootstrap.MeshGateway.Mode: expected none, local or remote, found "far"']);
    expect(shown('config_entries { bootstrap { name = "web" } }').problems).toEqual([
      'a.hcl:1:28: config_entries.bootstrap: expected the key "kind", found none',
    ]);
  });
});

describe('entries that Consul knows and a gateway does not use are ignored with a warning', () => {
  it.each([
    'service-splitter',
    'service-router',
    'ingress-gateway',
    'terminating-gateway',
    'sameness-group',
    'api-gateway',
    'http-route',
    'tcp-route',
    'inline-certificate',
    'file-system-certificate',
    'bound-api-gateway',
    'jwt-provider',
    'control-plane-request-limit',
  ])('an entry of the kind %s', (kind) => {
    expect(shown(`kind = "${kind}"\nname = "web"\nsplits = [ { weight = 100 } ]`)).toEqual({
      problems: [],
      warnings: [`a.hcl:1:8: kind: an entry of the kind ${kind} has no effect here`],
    });
  });

  it.each(['terminating-gateway', 'ingress-gateway', 'api-gateway'])('a service of the kind %s', async (kind) => {
    const folder = await meshFolder({
      'primary/a.hcl': `${DB}service { kind = "${kind}", name = "edge", port = 8443 }`,
    });
    const mesh = await readMesh(folder, PRIMARY);
    expect(Object.keys(backends(mesh))).toEqual(['db']);
    expect(mesh.warnings).toEqual([
      `${folder}/primary/a.hcl:6:18: service.1.kind: a service of the kind ${kind} has no effect here`,
    ]);
  });

  it.each([
    [
      'a key of a newer version in an entry',
      'kind = "service-defaults"\nname = "web"\nquantum_tunnelling = true',
      'a.hcl:3:1: quantum_tunnelling: unknown key, has no effect',
    ],
    [
      'a key of a newer version in a service',
      'service { name = "web", connect { sidecar_service { proxy { quantum_tunnelling { a = 1 } } } } }',
      'a.hcl:1:61: service.connect.sidecar_service.proxy.quantum_tunnelling: unknown key, has no effect',
    ],
    [
      'an upstream of a prepared query',
      'service { name = "web", connect { sidecar_service { proxy { upstreams { destination_type = "prepared_query", destination_name = "q", local_bind_port = 1 } } } } }',
      'a.hcl:1:92: service.connect.sidecar_service.proxy.upstreams.destination_type: this upstream has no effect: prepared queries need Consul',
    ],
  ])('%s', (_claim, text, warning) => expect(shown(text)).toEqual({ problems: [], warnings: [warning] }));

  it('but a kind that Consul does not have is a mistake', () => {
    expect(shown('kind = "service-spliter"\nname = "web"').problems).toEqual([
      'a.hcl:1:8: kind: expected one of proxy-defaults, service-defaults, service-resolver, service-intentions, exported-services, mesh, found "service-spliter"',
    ]);
  });
});

describe('a body of the HTTP API is rejected with the right form', () => {
  const registration =
    "expected service definitions or an entry, found a registration for Consul's HTTP API: wrap it in service { … }";
  it.each([
    [
      '{"Name":"web-sidecar-proxy","Kind":"connect-proxy","Port":20000,"Proxy":{"DestinationServiceName":"web"}}',
      registration,
    ],
    ['{"Name":"gateway","Kind":"mesh-gateway","Port":8443}', registration],
    ['{"Name":"edge","Kind":"terminating-gateway","Port":8443}', registration],
    ['{"ID":"web1","Name":"web","Port":80,"Check":{"TTL":"10s"}}', registration],
    [
      '{"Node":"n1","Address":"10.0.0.9","Service":{"Service":"web","Port":80}}',
      "expected service definitions or an entry, found a body of catalog/register in Consul's HTTP API: write the content of Service as service { … }, and rename its Service key to name",
    ],
    ...[
      '[{"Node":{"Node":"n1"},"Service":{"Service":"db","Port":1},"Checks":[]}]',
      '[{"ID":"db1","Node":"n1","ServiceName":"db","ServicePort":1}]',
      '{"db1":{"ID":"db1","Service":"db","Port":1,"Tags":[]}}',
    ].map((text) => [
      text,
      "expected service definitions or an entry, found a response of Consul's HTTP API: write each instance as service { … }, and rename its Service key to name",
    ]),
    [
      '[{"Kind":"proxy-defaults","Name":"global"},{"Kind":"service-defaults","Name":"db"}]',
      'expected service definitions or an entry, found a list of entries: write each into a separate file, or all of them as config_entries { bootstrap = [ … ] }',
    ],
    [
      '{"apiVersion":"consul.hashicorp.com/v1alpha1","kind":"ServiceResolver","metadata":{"name":"db"},"spec":{}}',
      'expected service definitions or an entry, found a resource of Kubernetes: write the content of spec next to kind and name, such as kind = "service-resolver"',
    ],
  ])('%s', (text, message) => expect(shown(text, 'a.json').problems).toEqual([`a.json:1:1: ${message}`]));
});

function shown(
  text: string,
  file = 'a.hcl',
): { readonly problems: readonly string[]; readonly warnings: readonly string[] } {
  const { problems, warnings } = parseMeshFile(text, file);
  return { problems: problems.map(formatProblem), warnings: warnings.map(formatProblem) };
}

async function meshOf(contents: MeshFileContents): Promise<Mesh> {
  return readMesh(await meshFolder(contents), PRIMARY);
}

/** Address and worst check status of each instance, by service. */
function backends(mesh: Mesh): Readonly<Record<string, readonly string[]>> {
  const services = mesh.catalogs.get('primary')?.services ?? [];
  return Object.fromEntries(
    services.map(({ name, instances }) => [
      name,
      instances.map(
        ({ port, nodeAddress, address, checks }) =>
          `${address || nodeAddress}:${port} ${checks[0]?.status ?? 'passing'}`,
      ),
    ]),
  );
}
