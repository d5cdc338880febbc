import { deriveRoutes } from '@meshgate/mesh';
import { describe, expect, it } from 'vitest';
import { type Mesh, meshProxyView, readMesh, sidecarsFor } from '../src/index.ts';
import { meshFolder, type MeshFileContents, PRIMARY, TRUST_DOMAIN } from './mesh-folder.ts';

describe('a service definition', () => {
  it('is parsed alike in HCL and JSON, alone or in a list, in either spelling of its keys', async () => {
    const written: readonly MeshFileContents[] = [
      {
        'primary/a.hcl':
          'service { name = "db", port = 9, meta { version = "v1" }, connect { sidecar_service { port = 20 } } }',
      },
      {
        'primary/a.hcl':
          'services = [ { name = "db", port = 9, meta = { version = "v1" }, connect { sidecar_service { port = 20 } } }, ]',
      },
      {
        'primary/a.hcl':
          'services { Name = "db", Port = 9, Meta { version = "v1" }, Connect { SidecarService { Port = 20 } } }',
      },
      {
        'primary/a.json':
          '{ "service": { "name": "db", "port": 9, "meta": { "version": "v1" }, "connect": { "sidecar_service": { "port": 20 } } } }',
      },
      {
        'primary/a.json':
          '{ "Services": [ { "Name": "db", "Port": 9, "Meta": { "version": "v1" }, "Tags": null, "Connect": { "SidecarService": { "Port": 20 } } } ] }',
      },
    ];
    const [first, ...others] = await Promise.all(
      written.map(async (contents) => instances(await meshOf(contents), 'db')),
    );
    expect(first).toMatchObject([
      { id: 'db-sidecar-proxy', service: 'db-sidecar-proxy', kind: 'connect-proxy', port: 20, meta: { version: 'v1' } },
    ]);
    for (const other of others) expect(other.map((one) => ({ ...one, node: 'a.hcl' }))).toEqual(first);
  });

  it('gives its sidecar meta, tags, checks and address, and the next free port from 21000 on by id', async () => {
    const mesh = await meshOf({
      'primary/a.hcl': `
        service { name = "zoo", port = 21000, address = "10.0.0.3", meta { a = "1" }, check { status = "critical" }, connect { sidecar_service {} } }
        service { name = "ant", port = 1, connect { sidecar_service { name = "ant-proxy" } } }
        service { name = "bee", id = "bee-1", port = 1, connect { sidecar_service { address = "10.0.0.9" } } }`,
    });
    expect(instances(mesh, 'zoo')).toMatchObject([
      { address: '10.0.0.3', port: 21_003, meta: { a: '1' }, checks: [{ status: 'critical' }] },
    ]);
    expect(instances(mesh, 'ant')).toMatchObject([{ id: 'ant-sidecar-proxy', service: 'ant-proxy', port: 21_001 }]);
    expect(instances(mesh, 'bee')).toMatchObject([{ id: 'bee-1-sidecar-proxy', address: '10.0.0.9', port: 21_002 }]);
  });

  it('without an address is on this machine', async () => {
    const mesh = await meshOf({ 'primary/a.hcl': 'service { name = "db", port = 1, connect { native = true } }' });
    const catalog = mesh.catalogs.get('primary');
    const backends = catalog && deriveRoutes(catalog, { wanFederation: false }).routes[0]?.backends;
    expect(backends).toEqual([{ address: { host: '127.0.0.1', port: 1 }, weight: 1, healthy: true }]);
  });

  it('of a proxy is a service of the mesh, even if the application has no definition', async () => {
    const mesh = await meshOf({
      'primary/a.hcl':
        'service { kind = "connect-proxy", name = "p", port = 7, proxy { destination_service_name = "db" } }',
    });
    expect(instances(mesh, 'db')).toMatchObject([{ id: 'p', port: 7 }]);
  });

  it('of a proxy has opaque settings, with weak types as in Consul: its listen address, its connect timeout', async () => {
    const mesh = await meshOf({
      'primary/a.hcl': `service { name = "web", address = "10.0.0.3", port = 1, connect { sidecar_service { port = 2, proxy {
        config { bind_address = "0.0.0.0", bind_port = "8443" }
        upstreams { destination_name = "db", local_bind_port = 9, config { connect_timeout_ms = "700" } }
      } } } }`,
    });
    expect(mesh.proxies.get('web-sidecar-proxy')).toMatchObject({
      listen: { host: '0.0.0.0', port: 8_443 },
      upstreams: [{ connectTimeoutMs: 700 }],
    });
  });

  it('may set what Consul takes as not set: an opaque setting of 0, a tag or a tagged address without a value', async () => {
    const mesh = await meshOf({
      'primary/a.hcl': `service { name = "web", port = 1, tags = [""], connect { sidecar_service { port = 2, proxy {
        config { bind_port = 0 }
        upstreams { destination_name = "db", local_bind_port = 9, config { connect_timeout_ms = 0, limits { max_connections = 0 } } }
      } }, } tagged_addresses { wan { address = "", port = 5 } } }`,
    });
    expect(mesh.proxies.get('web-sidecar-proxy')).toMatchObject({ listen: { port: 2 } });
    const [upstream] = mesh.proxies.get('web-sidecar-proxy')?.upstreams ?? [];
    expect(upstream).toEqual({ name: 'db', kind: 'service', bind: { host: '127.0.0.1', port: 9 } });
    expect(instances(mesh, 'web')).toMatchObject([{ port: 2, taggedAddresses: {} }]);
  });

  it('has weights, WAN addresses and health as written', async () => {
    const mesh = await meshOf({
      'primary/a.hcl': `service {
        kind = "connect-proxy", name = "p", port = 7
        proxy { destination_service_name = "db" }
        weights { passing = 5, warning = 3 }
        tagged_addresses { wan { address = "203.0.113.1", port = 8 }, lan = { address = "10.0.0.1" } }
        checks = [ { name = "load", status = "warning", interval = "10s" }, { tcp = "127.0.0.1:7" } ]
      }`,
    });
    expect(instances(mesh, 'db')).toMatchObject([
      {
        weights: { passing: 5, warning: 3 },
        taggedAddresses: { wan: { address: '203.0.113.1', port: 8 }, lan: { address: '10.0.0.1', port: 0 } },
        checks: [
          { id: 'load', status: 'warning' },
          { id: 'service:p:2', status: 'passing' },
        ],
      },
    ]);
  });
});

describe('configuration entries', () => {
  it('may be written in either spelling, in HCL or JSON', async () => {
    const mesh = await meshOf({
      'primary/a.hcl':
        'kind = "proxy-defaults"\nname = "global"\nmesh_gateway { mode = "local" }\nconfig { protocol = "tcp" }',
      'primary/b.json':
        '{ "Kind": "service-defaults", "Name": "web", "MeshGateway": { "Mode": "remote" }, "CreateIndex": 7, "Meta": null }',
      'primary/c.hcl': `Kind = "service-defaults"\nName = "shop"\nUpstreamConfig {
        Defaults { MeshGateway { Mode = "none" }, ConnectTimeoutMs = 700, Limits { MaxConnections = 8, MaxPendingRequests = 1 } }
        Overrides = [ { Name = "api", MeshGateway = { Mode = "local" } }, ] }`,
    });
    expect(mesh.entries.proxyDefaults).toMatchObject({ mode: { value: 'local' }, config: { protocol: 'tcp' } });
    expect(mesh.entries.serviceDefaults.get('web')).toMatchObject({ mode: { value: 'remote' } });
    expect(mesh.entries.serviceDefaults.get('shop')).toMatchObject({
      upstreamDefaults: { mode: { value: 'none' }, connectTimeoutMs: 700, maxConnections: 8 },
      upstreamOverrides: [{ name: 'api', mode: { value: 'local' } }],
    });
  });

  it('may be JSON in a file named .hcl, as Consul accepts it, and weakly typed', async () => {
    const mesh = await meshOf({
      'primary/a.hcl': '\n { "Kind": "proxy-defaults", "MeshGateway": { "Mode": "local" } }',
      'primary/b.hcl':
        'Kind = "service-resolver"\nName = "db"\nConnectTimeout = ".5s"\nSubsets { a { OnlyPassing = "true" }, b { OnlyPassing = 1 }, c { OnlyPassing = "F" } }',
      'primary/c.hcl':
        'Kind = "service-resolver"\nName = "sql"\nConnectTimeout = "0"\nSubsets { v1 {} }\nDefaultSubset = "v1"\nRedirect { Service = "db" }',
    });
    expect(mesh.entries.proxyDefaults?.mode?.value).toBe('local');
    expect(mesh.entries.resolvers.get('db')).toMatchObject({
      connectTimeoutMs: 500,
      subsets: { a: { onlyPassing: true }, b: { onlyPassing: true }, c: { onlyPassing: false } },
    });
    expect(mesh.entries.resolvers.get('sql')?.connectTimeoutMs).toBeUndefined();
  });

  it('of service-resolver select instances, redirect and fail over', async () => {
    const mesh = await meshOf({
      'primary/db.hcl': `
        service { name = "db", id = "db1", port = 1, meta { version = "v1" }, connect { sidecar_service { port = 11 } } }
        service { name = "db", id = "db2", port = 2, meta { version = "v2" }, tags = ["blue"], connect { sidecar_service { port = 12 } } }`,
      'primary/resolver.hcl': `
        Kind = "service-resolver"
        Name = "db"
        ConnectTimeout = "1m30s"
        DefaultSubset = "v1"
        Subsets = {
          v1 = { Filter = "Service.Meta.version == v1" }
          "v2" = { Filter = "\\"blue\\" in Service.Tags", OnlyPassing = true }
        }
        Failover = { "*" = { Datacenters = ["secondary", "tertiary"] }, v2 = { ServiceSubset = "v1" } }
        LoadBalancer { Policy = "least_request" }`,
      'primary/alias.hcl':
        'Kind = "service-resolver"\nName = "alias"\nRedirect { Service = "db", Datacenter = "secondary" }',
    });
    const [db] = mesh.catalogs.get('primary')?.services ?? [];
    expect(db?.selections).toMatchObject({
      v1: { kind: 'selected', instances: [{ id: 'db1-sidecar-proxy' }] },
      v2: { kind: 'selected', instances: [{ id: 'db2-sidecar-proxy' }] },
    });
    expect(mesh.entries.resolvers.get('db')).toMatchObject({ connectTimeoutMs: 90_000, loadBalancer: 'least_request' });
    expect([...(mesh.entries.resolvers.get('db')?.failover ?? [])]).toEqual([
      ['*', [{ datacenter: 'secondary' }, { datacenter: 'tertiary' }]],
      ['v2', [{ subset: 'v1' }]],
    ]);
    expect(mesh.entries.resolvers.get('alias')?.redirect).toEqual({ service: 'db', datacenter: 'secondary' });
  });

  it('of service-intentions are for the proxies of their service', async () => {
    const mesh = await meshOf({
      'primary/db.hcl': 'service { name = "db", port = 1, connect { sidecar_service {} } }',
      'primary/i1.hcl':
        'Kind = "service-intentions"\nName = "db"\nSources = [ { Name = "web", Action = "allow" }, { Name = "*", Action = "deny" } ]',
      'primary/i2.hcl':
        'Kind = "service-intentions"\nName = "*"\nSources { Name = "admin", Permissions = [ { Action = "allow" } ] }',
      'primary/i3.hcl': 'Kind = "service-intentions"\nName = "shop"\nSources { Name = "*", Action = "deny" }',
    });
    expect(meshProxyView(mesh, 'db-sidecar-proxy')).toMatchObject({
      intentions: [
        { source: 'web', destination: 'db', action: 'allow' },
        { source: '*', destination: 'db', action: 'deny' },
        { source: 'admin', destination: '*', action: 'http' },
      ],
      intentionDefault: 'allow',
    });
  });

  it('configure ejections, and whether callers without TLS are accepted', async () => {
    const mesh = await meshOf({
      'primary/web.hcl': `service { name = "web", port = 1, connect { sidecar_service { proxy { upstreams = [
        { destination_name = "db", local_bind_port = 1 },
        { destination_name = "api", local_bind_port = 2, config { passive_health_check { max_failures = 7 } } },
      ] } } } }`,
      'primary/d.hcl': `Kind = "service-defaults"
Name = "web"
MutualTLSMode = "permissive"
UpstreamConfig { Defaults { PassiveHealthCheck {
  Interval = "10s", MaxFailures = 2, EnforcingConsecutive5xx = 50, MaxEjectionPercent = 30, BaseEjectionTime = "1m"
} } }`,
      'primary/m.hcl': 'Kind = "mesh"\nAllowEnablingPermissiveMutualTLS = true',
    });
    const view = meshProxyView(mesh, 'web-sidecar-proxy');
    expect(view).toMatchObject({
      mutualTls: 'permissive',
      upstreams: [
        {
          passiveHealthCheck: {
            intervalMs: 10_000,
            maxFailures: 2,
            enforcingPercent: 50,
            maxEjectionPercent: 30,
            baseEjectionMs: 60_000,
          },
        },
        { passiveHealthCheck: { maxFailures: 7 } },
      ],
    });
    expect(view?.warnings).toEqual([
      expect.stringContaining('without TLS to the public listener reach the application'),
    ]);
  });

  it('apply in every datacenter, unless its own folder overrides them', async () => {
    const contents = {
      'primary/empty.hcl': '',
      'secondary/defaults.hcl': 'Kind = "proxy-defaults"\nName = "global"\nMeshGateway { Mode = "local" }',
    };
    expect((await meshOf(contents)).entries.proxyDefaults?.mode?.value).toBe('local');
    const own = {
      ...contents,
      'primary/own.hcl': 'Kind = "proxy-defaults"\nName = "global"\nMeshGateway { Mode = "none" }',
    };
    expect((await meshOf(own)).entries.proxyDefaults?.mode?.value).toBe('none');
    const same = { ...contents, 'tertiary/defaults.hcl': contents['secondary/defaults.hcl'] };
    expect((await meshOf(same)).entries.proxyDefaults?.mode?.value).toBe('local');
  });
});

describe('a mesh', () => {
  const TWO = {
    'primary/gateway.hcl': `service {
      kind = "mesh-gateway", name = "gateway", address = "10.0.0.5", port = 8443
      proxy { config { connect_timeout_ms = 1234 } }
    }`,
    'primary/db.hcl': 'service { name = "db", port = 1, connect { sidecar_service {} } }',
    'secondary/gateway.hcl': `service {
      kind = "mesh-gateway", name = "gateway", address = "10.9.0.5", port = 8443
      tagged_addresses { wan { address = "gw.example.com", port = 443 } }
    }`,
    'secondary/api.hcl': 'service { name = "api", port = 1, connect { sidecar_service {} } }',
  };

  it('has the routes that a gateway of each datacenter would have', async () => {
    const mesh = await meshOf(TWO);
    const routes = (name: string) => {
      const catalog = mesh.catalogs.get(name);
      const derived = catalog && deriveRoutes(catalog, { wanFederation: false }).routes;
      return derived?.map(({ serverNames, backends }) => [serverNames[0], backends[0]?.address.host]);
    };
    expect(routes('primary')).toEqual([
      [`db.default.primary.internal.${TRUST_DOMAIN}`, '127.0.0.1'],
      [`*.secondary.internal.${TRUST_DOMAIN}`, 'gw.example.com'],
    ]);
    expect(routes('secondary')).toEqual([
      [`api.default.secondary.internal.${TRUST_DOMAIN}`, '127.0.0.1'],
      [`*.primary.internal.${TRUST_DOMAIN}`, '10.0.0.5'],
    ]);
  });

  it('has the definition of its gateway, with central settings as defaults', async () => {
    const defaults =
      'Kind = "proxy-defaults"\nName = "global"\nConfig { connect_timeout_ms = 1, envoy_gateway_remote_tcp_enable_keepalive = true }';
    expect((await meshOf({ ...TWO, 'primary/defaults.hcl': defaults })).gateways.get('gateway')).toMatchObject({
      listeners: [{ name: 'default', endpoint: { host: '10.0.0.5', port: 8_443 } }],
      connectTimeoutMs: 1_234,
      remoteKeepAlive: { idleMs: 60_000 },
    });
  });

  it('has the sidecar of an instance by its id, or by its service if the definition names no id', async () => {
    const mesh = await meshOf({
      'primary/a.hcl': `
        service { name = "web", id = "web-1", port = 1, connect { sidecar_service {} } }
        service { name = "shop-proxy", port = 2, proxy { destination_service_name = "shop" } }`,
    });
    expect(sidecarsFor('web-1', mesh)).toEqual(['web-1-sidecar-proxy']);
    expect(sidecarsFor('shop', mesh)).toEqual(['shop-proxy']);
    expect(sidecarsFor('web', mesh)).toEqual([]);
  });

  it('fails over to another datacenter through its gateways', async () => {
    const mesh = await meshOf({
      ...TWO,
      'primary/db.hcl':
        'service { name = "db", port = 1, check { status = "critical" }, connect { sidecar_service {} } }',
      'secondary/db.hcl': 'service { name = "db", port = 1, connect { sidecar_service {} } }',
      'primary/failover.hcl': 'Kind = "service-resolver"\nName = "db"\nFailover "*" { Datacenters = ["secondary"] }',
      'primary/web.hcl': `service { name = "web", port = 1, connect { sidecar_service { proxy {
        mesh_gateway { mode = "local" }
        upstreams { destination_name = "db", local_bind_port = 9 }
      } } } }`,
    });
    const [upstream] = meshProxyView(mesh, 'web-sidecar-proxy')?.upstreams ?? [];
    expect(upstream).toMatchObject({
      kind: 'reachable',
      targets: [
        { path: 'direct', service: 'unhealthy', target: { datacenter: 'primary' } },
        { path: 'local-gateway', service: 'healthy', target: { datacenter: 'secondary' } },
      ],
    });
  });

  it('assumes nothing about a datacenter without a folder: gateways are dialled nevertheless', async () => {
    const mesh = await meshOf({
      'primary/gateway.hcl': TWO['primary/gateway.hcl'],
      'primary/web.hcl': `service { name = "web", port = 1, connect { sidecar_service { proxy {
        mesh_gateway { mode = "local" }
        upstreams { destination_name = "db", datacenter = "mars", local_bind_port = 9 }
      } } } }`,
    });
    const [upstream] = meshProxyView(mesh, 'web-sidecar-proxy')?.upstreams ?? [];
    expect(upstream).toMatchObject({ targets: [{ service: 'unknown', backends: [{ healthy: true }] }] });
  });
});

describe('a semantic mistake has its file, its position and its key path', () => {
  const proxy = (text: string): string =>
    `service {\n name = "web"\n port = 1\n connect { sidecar_service { proxy {\n${text}\n} } }\n}`;
  const at = 'service.connect.sidecar_service.proxy';

  it.each<[string, string]>([
    ['servise { }', '1:1: servise: unknown key "servise": did you mean "service"?'],
    ['service { port = 1 }', '1:9: service: expected the key "name", found none'],
    ['service { name = "" }', '1:18: service.name: expected a string, found ""'],
    ['service {\n  name = "web"\n  prot = 1\n}', '3:3: service.prot: unknown key "prot": did you mean "port"?'],
    ['service { Name = "web", Adress = "a" }', '1:25: service.Adress: unknown key "Adress": did you mean "Address"?'],
    [
      'service { name = "web", Name = "web" }',
      '1:32: service.Name: this key is already set above, in another spelling',
    ],
    ['service { name = "web", port = "80" }', '1:32: service.port: expected an integer from 0 to 65535, found "80"'],
    [
      'service { name = "web", meta { version = 1 } }',
      '1:42: service.meta.version: expected a string, found the number 1',
    ],
    [
      'service { name = "web", kind = "gateway" }',
      '1:32: service.kind: expected one of connect-proxy, mesh-gateway, found "gateway"',
    ],
    [
      'service { name = "gw", kind = "mesh-gateway" }',
      '1:9: service: expected the key "port" in a mesh-gateway, found none',
    ],
    [
      'service { name = "p", port = 1, kind = "connect-proxy" }',
      '1:9: service: expected the key "proxy.destination_service_name" in a connect-proxy, found none',
    ],
    [
      'service { name = "web", namespace = "team" }',
      '1:37: service.namespace: expected default or nothing, found "team": mesh files have one namespace',
    ],
    [
      'service { name = "web", check { status = "ok" } }',
      '1:42: service.check.status: expected one of passing, warning, critical, found "ok"',
    ],
    [
      proxy('mesh_gateway { mode = "Local" }'),
      `5:23: ${at}.mesh_gateway.mode: expected none, local or remote, found "Local": write local, in lower case`,
    ],
    [
      proxy('upstreams = [\n { destination_name = "a", local_bind_port = 1, mesh_gateway { mode = "far" } } ]'),
      `6:71: ${at}.upstreams.0.mesh_gateway.mode: expected none, local or remote, found "far"`,
    ],
    [
      proxy('upstreams = [ { local_bind_port = 1 } ]'),
      `5:15: ${at}.upstreams.0: expected a "destination_name", found none`,
    ],
    [
      proxy('upstreams { destination_name = "a" }'),
      `5:11: ${at}.upstreams: expected the key "local_bind_port", found none`,
    ],
    [
      proxy(
        'upstreams = [ { destination_name = "a", local_bind_port = 1 }, { destination_name = "b", local_bind_port = 1 } ]',
      ),
      `5:64: ${at}.upstreams.1: expected a unique address, found 127.0.0.1:1, which upstream a already uses`,
    ],
    [
      proxy('upstreams { destination_name = "a", local_bind_port = 1, destination_type = "prepared_qery" }'),
      `5:77: ${at}.upstreams.destination_type: expected one of service, prepared_query, found "prepared_qery"`,
    ],
    [
      'Kind = "service-routers"\nName = "web"',
      '1:8: Kind: expected one of proxy-defaults, service-defaults, service-resolver, service-intentions, exported-services, mesh, found "service-routers"',
    ],
    [
      'Kind = "proxy-defaults"\nName = "web"',
      '2:8: Name: expected global, the only name of proxy-defaults, found "web"',
    ],
    [
      'Kind = "proxy-defaults"\nName = "global"\nMeshGateway {\n  Mode = "LOCAL"\n}',
      '4:10: MeshGateway.Mode: expected none, local or remote, found "LOCAL": write local, in lower case',
    ],
    [
      'Kind = "proxy-defaults"\nName = "global"\nMeshGatway { }',
      '3:1: MeshGatway: unknown key "MeshGatway": did you mean "MeshGateway"?',
    ],
    ['Kind = "service-defaults"', '1:1: expected the key "name", found none'],
    ['Kimd = "service-defaults"', '1:1: Kimd: unknown key "Kimd": did you mean "Kind"?'],
    [
      'service { name = "web", port = 1, connect { sidecar_service { connect { sidecar_service {} } } } }',
      '1:71: service.connect.sidecar_service.connect: expected no sidecar of a sidecar, found one',
    ],
    [
      'service { name = "web", port = 1, connect { sidecar_service { kind = "mesh-gateway" } } }',
      '1:70: service.connect.sidecar_service.kind: expected one of connect-proxy, found "mesh-gateway"',
    ],
    [
      'service { name = "p", port = 1, proxy { destination_service_name = "web" }, connect { native = true } }',
      '1:85: service.connect: expected no "native" in a connect-proxy, found it: only an application can be native',
    ],
    [
      'service { name = "gw", kind = "mesh-gateway", port = 1, proxy { destination_service_name = "web" } }',
      '1:9: service: expected a mesh-gateway without a destination and upstreams, found one that has them',
    ],
    [
      proxy('config { bind_port = "70000" }'),
      `5:22: ${at}.config.bind_port: expected an integer from 0 to 65535, found "70000"`,
    ],
    [
      'service { name = "web", weights { passing = 0 } }',
      '1:45: service.weights.passing: expected an integer from 1 to 65535, found the number 0',
    ],
    [
      'Kind = "service-resolver"\nName = "db"\nSubsets { v1 { Filter = "Service.Nope == x" } }',
      '3:25: Subsets.v1.Filter: expected a field of an instance, found Service.Nope',
    ],
    [
      'Kind = "service-resolver"\nName = "db"\nDefaultSubset = "v3"\nSubsets { v1 {} }',
      '3:17: DefaultSubset: expected one of the subsets (v1), found "v3"',
    ],
    [
      'Kind = "service-resolver"\nName = "db"\nConnectTimeout = "soon"',
      '3:18: ConnectTimeout: expected a duration such as 500ms, 5s or 1m30s, found "soon"',
    ],
    [
      'Kind = "service-resolver"\nName = "db"\nRedirect { Service = "a" }\nFailover "*" { Service = "b" }',
      '4:10: Failover: expected a redirect alone, found failover beside it',
    ],
    ...[
      ['Redirect {}', '3:10: Redirect: expected a service or a datacenter to redirect to, found neither of them'],
      [
        'Subsets { v1 {} }\nRedirect { ServiceSubset = "v1" }',
        '4:28: Redirect.ServiceSubset: expected a service beside the service_subset of a redirect, found none',
      ],
      [
        'Subsets { v_1 {} }',
        '3:15: Subsets.v_1: expected a name of lower-case letters, digits and - for a subset, found "v_1"',
      ],
      [
        'Subsets { v1 {} }\nFailover { v2 { Service = "sql" } }',
        '4:15: Failover.v2: expected failover of * or of one of the subsets (v1), found "v2"',
      ],
      [
        'Failover "*" { Service = "sql", Datacenter = "dc2" }',
        '3:33: Failover.*.Datacenter: unknown key "Datacenter": did you mean "Datacenters"?',
      ],
      [
        'Redirect { Service = "sql", ServiceSubset = "v1" }',
        '1:1: service-resolver/db: Redirect.ServiceSubset: expected a subset of sql (none), found "v1"',
      ],
      [
        'Subsets { v1 {} }\nFailover "*" { ServiceSubset = "v2" }',
        '1:1: service-resolver/db: Failover.*.ServiceSubset: expected a subset of db (v1), found "v2"',
      ],
      [
        'ConnectTimeout = 15',
        '3:18: ConnectTimeout: expected a duration from 1ms to 596h, found 15, which counts nanoseconds',
      ],
      ['ConnectTimeout = "600h"', '3:18: ConnectTimeout: expected a duration from 1ms to 596h, found 600h'],
      ['ConnectTimeout = "-1s"', '3:18: ConnectTimeout: expected a duration from 1ms to 596h, found -1s'],
      ['Subsets { v1 { OnlyPassing = "yes" } }', '3:30: Subsets.v1.OnlyPassing: expected true or false, found "yes"'],
    ].map(([text, message]): [string, string] => [`Kind = "service-resolver"\nName = "db"\n${text}`, message ?? '']),
    [
      'Kind = "service-resolver"\nName = "db"\nFailover "*" {}',
      '3:14: Failover.*: expected a service, a service_subset, datacenters or targets to fail over to, found none of them',
    ],
    [
      'Kind = "service-intentions"\nName = "db"\nSources { Name = "web", Action = "Deny" }',
      '3:34: Sources.Action: expected one of allow, deny, found "Deny"',
    ],
    [
      'Kind = "service-intentions"\nName = "db"\nSources { Name = "web" }',
      '3:9: Sources: expected an "action", found none',
    ],
  ])('%s', async (text, message) => {
    const folder = await meshFolder({ 'primary/a.hcl': text });
    const failure = { name: 'ConfigProblems', message: `${folder}/primary/a.hcl:${message}` };
    await expect(readMesh(folder, PRIMARY)).rejects.toMatchObject(failure);
  });

  it('also in a cycle of redirects, at each entry of it', async () => {
    const redirect = (name: string, to: string): string =>
      `Kind = "service-resolver"\nName = "${name}"\nRedirect { Service = "${to}" }`;
    const folder = await meshFolder({ 'primary/a.hcl': redirect('a', 'b'), 'primary/b.hcl': redirect('b', 'a') });
    const circle = (...names: readonly string[]): string =>
      `expected redirects without a cycle, found one: ${names.map((name) => `${name}.default.default.primary`).join(' -> ')}`;
    await expect(readMesh(folder, PRIMARY)).rejects.toThrow(
      [
        `${folder}/primary/a.hcl:1:1: service-resolver/a: Redirect: ${circle('a', 'b', 'a')}`,
        `${folder}/primary/b.hcl:1:1: service-resolver/b: Redirect: ${circle('b', 'a', 'b')}`,
      ].join('\n'),
    );
  });

  it('a key that is written twice is reported once', async () => {
    const folder = await meshFolder({
      'primary/a.json': '{ "Kind": "proxy-defaults", "MeshGateway": {}, "MeshGateway": {} }',
    });
    await expect(readMesh(folder, PRIMARY)).rejects.toMatchObject({
      message: `${folder}/primary/a.json:1:48: this key is already set above`,
    });
  });

  it('also between two definitions and between two entries', async () => {
    const entry = (mode: string): string =>
      `Kind = "proxy-defaults"\nName = "global"\nMeshGateway { Mode = "${mode}" }`;
    const folder = await meshFolder({
      'primary/a.hcl': 'service { name = "web", port = 1 }',
      'primary/b.json': '{ "service": { "name": "web", "port": 2 } }',
      'primary/c.hcl': entry('local'),
      'primary/d.hcl': entry('remote'),
    });
    const id = `${folder}/primary/b.json:1:14: service: service id "web" is already used at ${folder}/primary/a.hcl:1:9: give one of them another id`;
    const other = `${folder}/primary/d.hcl:1:1: proxy-defaults/global is already defined, with other content, at ${folder}/primary/c.hcl:1:1`;
    await expect(readMesh(folder, PRIMARY)).rejects.toThrow(`${id}\n${other}`);
  });

  it('reports every problem of every file at once', async () => {
    const folder = await meshFolder({
      'primary/a.hcl': 'service {',
      'primary/b.json': '{ "service": }',
      'secondary/c.hcl': 'service { naem = "web" }',
      'stray.hcl': '',
    });
    await expect(readMesh(folder, PRIMARY)).rejects.toThrow(
      [
        `${folder}/stray.hcl:1:1: expected this file in the folder of a datacenter, found it next to the datacenter folders`,
        `${folder}/primary/a.hcl:1:10: invalid HCL: expected a name, found the end of the file`,
        `${folder}/primary/b.json:1:14: invalid JSON: value expected`,
        `${folder}/secondary/c.hcl:1:11: service.naem: unknown key "naem": did you mean "name"?`,
        `${folder}/secondary/c.hcl:1:9: service: expected the key "name", found none`,
      ].join('\n'),
    );
  });

  it('reports that the folder, or that of the local datacenter, is missing', async () => {
    const folder = await meshFolder({ 'secondary/a.hcl': '', '.hidden/a.hcl': '}' });
    await expect(readMesh(folder, PRIMARY)).rejects.toThrow(
      `${folder}:1:1: expected a folder for the local datacenter, "primary"; folders found: secondary`,
    );
    await expect(readMesh(`${folder}/none`, PRIMARY)).rejects.toThrow(
      `${folder}/none:1:1: cannot be read: no such file`,
    );
  });
});

async function meshOf(contents: MeshFileContents): Promise<Mesh> {
  return readMesh(await meshFolder(contents), PRIMARY);
}

function instances(mesh: Mesh, service: string) {
  return mesh.catalogs.get('primary')?.services.find(({ name }) => name === service)?.instances ?? [];
}
