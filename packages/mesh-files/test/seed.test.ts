import type { ProxyUpstream, ProxyView } from '@meshgate/mesh';
import { describe, expect, it } from 'vitest';
import { meshProxyView, readMesh } from '../src/index.ts';
import { meshFolder, type MeshFileContents, PRIMARY, TRUST_DOMAIN } from './mesh-folder.ts';

// The configurations of the document that introduced mesh gateways, unchanged.

const GLOBALLY = `
Kind = "proxy-defaults"
Name = "global"
MeshGateway {
   Mode = "local"
}
`;

const PER_SERVICE = `
Kind = "service-defaults"
Name = "web"
MeshGateway {
   Mode = "local"
}
`;

const PER_INSTANCE = `
service {
   name = "web-sidecar-proxy"
   port = 8181
   proxy {
      destination_service_name = "web"
      mesh_gateway {
         mode = "remote"
      }
      upstreams = [
         {
            destination_name = "api"
            datacenter = "secondary"
            local_bind_port = 10000
         }
      ]
   }
}
`;

const AS_SIDECAR = `
service {
  name = "web"
  port = 8181
  connect {
    sidecar_service {
      proxy {
        mesh_gateway {
         mode = "remote"
        }
        upstreams = [
          {
            destination_name = "api"
            datacenter = "secondary"
            local_bind_port = 10000
          }
        ]
      }
    }
  }
}
`;

const PER_UPSTREAM = `
service {
   name = "web-sidecar-proxy"
   port = 8181
   proxy {
      destination_service_name = "web"
      upstreams = [
         {
            destination_name = "api"
            local_bind_port = 10000
            mesh_gateway {
               mode = "remote"
            }
         },
         {
            destination_name = "db"
            local_bind_port = 10001
            mesh_gateway {
               mode = "local"
            }
         },
         {
            destination_name = "logging"
            local_bind_port = 10002
            mesh_gateway {
               mode = "none"
            }
         },
      ]
   }
}
`;

/** A sidecar whose upstream has no mode of its own. */
const SILENT = `
service {
  name = "web"
  port = 8181
  connect { sidecar_service { proxy {
    upstreams { destination_name = "api", datacenter = "secondary", local_bind_port = 10000 }
  } } }
}
`;

/** A gateway in each datacenter, and the three services in the other one. */
const AROUND: MeshFileContents = {
  'primary/gateway.hcl':
    'service { name = "gateway", kind = "mesh-gateway", address = "10.0.0.5", port = 8443, tagged_addresses { wan { address = "203.0.113.5", port = 443 } } }',
  'secondary/gateway.hcl':
    'service { name = "gateway", kind = "mesh-gateway", address = "10.9.0.5", port = 8443, tagged_addresses { wan { address = "203.0.113.9", port = 444 } } }',
  'secondary/services.hcl': ['api', 'db', 'logging']
    .map(
      (name, index) =>
        `service { name = "${name}", address = "10.9.0.${index + 10}", port = 1, connect { sidecar_service {} } }`,
    )
    .join('\n'),
};

describe('the document of mesh gateways', () => {
  it('"will enable gateways for all Connect services in the local mode"', async () => {
    const { upstreams } = await viewOf({ 'primary/defaults.hcl': GLOBALLY, 'primary/web.hcl': SILENT });
    expect(upstreams.map(observed)).toEqual([
      {
        bind: '127.0.0.1:10000',
        path: 'local-gateway',
        dials: ['10.0.0.5:8443'],
        by: 'proxy-defaults',
        serverName: `api.default.secondary.internal.${TRUST_DOMAIN}`,
      },
    ]);
  });

  it('"will enable gateways for all Connect services with the name web", and for no other', async () => {
    const { upstreams } = await viewOf({ 'primary/defaults.hcl': PER_SERVICE, 'primary/web.hcl': SILENT });
    expect(upstreams.map(observed)).toMatchObject([
      { path: 'local-gateway', dials: ['10.0.0.5:8443'], by: 'service-defaults' },
    ]);
    const shop = SILENT.replace('"web"', '"shop"');
    const other = await viewOf({ 'primary/defaults.hcl': PER_SERVICE, 'primary/shop.hcl': shop }, 'shop-sidecar-proxy');
    expect(other.upstreams.map(observed)).toMatchObject([{ path: 'direct', by: 'nobody' }]);
  });

  it.each([
    ['"for the service instance in the remote mode"', PER_INSTANCE, { port: 8181 }],
    ['"or alternatively as a sidecar service"', AS_SIDECAR, { port: 21_000 }],
  ])('%s', async (_claim, text, listen) => {
    const { proxy, upstreams } = await viewOf({ 'primary/web.hcl': text });
    expect(proxy).toMatchObject({ id: 'web-sidecar-proxy', service: 'web', listen });
    expect(upstreams.map(observed)).toMatchObject([
      { path: 'remote-gateway', dials: ['203.0.113.9:444'], by: 'service-instance' },
    ]);
  });

  it('the sidecar service forwards connections to its service', async () => {
    const { proxy } = await viewOf({ 'primary/web.hcl': AS_SIDECAR });
    expect(proxy).toMatchObject({ serviceId: 'web', application: { host: '127.0.0.1', port: 8181 } });
  });

  it('"in the local mode for one upstream, the remote mode for a second upstream and will disable gateways for a third"', async () => {
    const there = PER_UPSTREAM.replaceAll('local_bind_port', 'datacenter = "secondary"\nlocal_bind_port');
    const { upstreams } = await viewOf({ 'primary/web.hcl': there });
    expect(upstreams.map(observed)).toMatchObject([
      { path: 'remote-gateway', dials: ['203.0.113.9:444'], by: 'upstream' },
      { path: 'local-gateway', dials: ['10.0.0.5:8443'], by: 'upstream' },
      { path: 'direct', dials: ['10.9.0.12:21002'], by: 'upstream' },
    ]);
  });

  it('as written, that last example stays in its datacenter, where no gateway is needed', async () => {
    const { upstreams } = await viewOf({ 'primary/web.hcl': PER_UPSTREAM });
    expect(upstreams.map(observed)).toMatchObject([
      { bind: '127.0.0.1:10000', path: 'direct', serverName: `api.default.primary.internal.${TRUST_DOMAIN}` },
      { bind: '127.0.0.1:10001', path: 'direct' },
      { bind: '127.0.0.1:10002', path: 'direct' },
    ]);
  });

  it('uses the places in its order: upstream, instance, service-defaults, proxy-defaults', async () => {
    const defaults = { 'primary/a.hcl': GLOBALLY.replace('local', 'none'), 'primary/b.hcl': PER_SERVICE };
    const all = { ...defaults, 'primary/web.hcl': AS_SIDECAR };
    const [upstream] = (await viewOf(all)).upstreams;
    expect(upstream?.kind === 'reachable' && upstream.targets[0]?.facts['decidedBy']).toMatch(
      /^remote by the service instance \(.*web\.hcl:9:17\); else local by the service defaults \(.*b\.hcl:5:11\); else none by the proxy defaults \(.*a\.hcl:5:11\)$/,
    );
  });
});

async function viewOf(contents: MeshFileContents, id = 'web-sidecar-proxy'): Promise<ProxyView> {
  const mesh = await readMesh(await meshFolder({ ...AROUND, ...contents }), PRIMARY);
  const view = meshProxyView(mesh, id);
  if (view === undefined) throw new Error(`expected the proxy ${id}, found ${[...mesh.proxies.keys()].join()}`);
  return view;
}

/** The parts of an upstream that the document describes. */
function observed(upstream: ProxyUpstream) {
  if (upstream.kind === 'refused') throw new Error(upstream.reason);
  const [first] = upstream.targets;
  const decision = first?.target.decision;
  return {
    bind: `${upstream.definition.bind.host}:${upstream.definition.bind.port}`,
    path: first?.path,
    dials: first?.backends.map(({ address }) => `${address.host}:${address.port}`),
    by: decision?.kind === 'decided' ? decision.by.scope : 'nobody',
    serverName: first?.target.serverName,
  };
}
