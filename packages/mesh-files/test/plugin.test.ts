import { fakeHost } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { checkMeshSettings, meshFilesPlugin, meshOptionsOf, parseMeshConfig, tlsFilesOf } from '../src/index.ts';
import { meshFolder, PRIMARY } from './mesh-folder.ts';

const SETTINGS = { mesh: 'mesh', ...PRIMARY };

describe('the plugin', () => {
  it('adds routes and listeners of the gateway that the files define', async () => {
    const baseDir = await meshFolder({
      'mesh/primary/a.hcl': 'service { kind = "mesh-gateway", name = "gw", port = 8443 }',
      'mesh/secondary/b.hcl': 'service { kind = "mesh-gateway", name = "gw", port = 9443 }',
    });
    const { sources: routes, listenerSources: listeners } = await fakeHost({ baseDir }).install(
      meshFilesPlugin,
      SETTINGS,
    );
    expect(routes.map(({ name }) => name)).toEqual(['mesh:mesh']);
    expect(await first(routes[0])).toMatchObject({ routes: [{ name: 'datacenter:secondary' }] });
    expect(await first(listeners[0])).toEqual([{ name: 'default', endpoint: { host: '127.0.0.1', port: 8_443 } }]);
  });

  it('parses its settings', () => {
    const tls = { ca: 'ca.pem', cert: 'web.pem', key: '/keys/web.pem' };
    const settings = { ...SETTINGS, trustDomain: 'ABC.Consul', gateway: 'gw-1', tls, name: 'static', poll: '5s' };
    const parsed = parseMeshConfig(settings);
    const config = { ...SETTINGS, trustDomain: 'abc.consul', gateway: 'gw-1', tls, name: 'static', pollMs: 5_000 };
    expect(parsed).toEqual(config);
    expect(meshOptionsOf(config, '/etc')).toEqual({
      folder: '/etc/mesh',
      datacenter: 'primary',
      trustDomain: 'abc.consul',
      gateway: 'gw-1',
      name: 'static',
      pollMs: 5_000,
    });
    expect(tlsFilesOf(config, '/etc')).toEqual({ ca: '/etc/ca.pem', cert: '/etc/web.pem', key: '/keys/web.pem' });
    expect(tlsFilesOf(SETTINGS, '/etc')).toBeUndefined();
  });

  it.each([
    [{ mesh: 'm' }, 'expected the key "datacenter", found none\nexpected the key "trustDomain", found none'],
    [{ ...SETTINGS, datacentre: 'x' }, 'datacentre: unknown key "datacentre": did you mean "datacenter"?'],
    [
      { ...SETTINGS, datacenter: 'a/b' },
      'datacenter: expected the name of a datacenter: letters, digits, hyphens and underscores, found "a/b"',
    ],
    [
      { ...SETTINGS, trustDomain: 'spiffe://x' },
      'trustDomain: expected a trust domain such as 11111111-2222-3333-4444-555555555555.consul, found "spiffe://x"',
    ],
    [
      { ...SETTINGS, tls: { ca: 'ca.pem' } },
      'tls: expected the key "cert", found none\ntls: expected the key "key", found none',
    ],
  ])('rejects %j', (config, message) => {
    expect(() => parseMeshConfig(config)).toThrow(expect.objectContaining({ name: 'ConfigProblems', message }));
  });

  it('checks the files before anything is started', async () => {
    const baseDir = await meshFolder({ 'mesh/primary/a.hcl': 'service {}' });
    const message = `${baseDir}/mesh/primary/a.hcl:1:9: service: expected the key "name", found none`;
    await expect(checkMeshSettings(SETTINGS, baseDir)).rejects.toMatchObject({ name: 'ConfigProblems', message });
  });

  it.each([
    ['no definition of a gateway', {}, 'no mesh-gateway is defined in datacenter primary'],
    [
      'the choice of another one',
      { gateway: 'gw-2' },
      'expected a mesh-gateway with the id gw-2 in datacenter primary; gateways found: none',
    ],
  ])('reports that there is nothing to listen on: %s', async (_claim, gateway, reason) => {
    const baseDir = await meshFolder({ 'mesh/primary/a.hcl': 'service { name = "web" }' });
    expect(await checkMeshSettings({ ...SETTINGS, ...gateway }, baseDir)).toMatchObject({ noListeners: reason });
  });

  it.each(['web@v2', 'web:v2', 'team/web', 'web api', 'a'.repeat(64)])(
    'warns about a service whose name no client can send: %s',
    async (name) => {
      const service = { service: { name, port: 80, connect: { sidecar_service: { port: 21_001 } } } };
      const baseDir = await meshFolder({ 'mesh/primary/a.json': JSON.stringify(service) });
      const { warnings } = await checkMeshSettings(SETTINGS, baseDir);
      expect(warnings).toEqual([expect.stringContaining(`service:${name}: no client can request it`)]);
    },
  );

  it.each(['Web', 'web_1', 'a.b', 'a'.repeat(63), '-web', 'web-'])(
    'has no warning for a service named %s',
    async (name) => {
      const service = { service: { name, port: 80, connect: { sidecar_service: { port: 21_001 } } } };
      const baseDir = await meshFolder({ 'mesh/primary/a.json': JSON.stringify(service) });
      expect((await checkMeshSettings(SETTINGS, baseDir)).warnings).toEqual([]);
    },
  );

  it('does not choose between several gateways', async () => {
    const gateway = (id: string): string => `service { kind = "mesh-gateway", name = "gw", id = "${id}", port = 8443 }`;
    const baseDir = await meshFolder({ 'mesh/primary/a.hcl': `${gateway('gw-1')}\n${gateway('gw-2')}` });
    await expect(checkMeshSettings(SETTINGS, baseDir)).rejects.toMatchObject({
      message:
        'gateway: expected one mesh-gateway in datacenter primary, found gw-1, gw-2: select one with the setting "gateway"',
    });
    expect(await checkMeshSettings({ ...SETTINGS, gateway: 'gw-2' }, baseDir)).toEqual({
      listening: [{ name: 'default', endpoint: { host: '127.0.0.1', port: 8443 } }],
      routes: [],
      warnings: [],
    });
  });
});

async function first<Value>(source: { watch(signal: AbortSignal): AsyncIterable<Value> } | undefined): Promise<Value> {
  for await (const value of source?.watch(new AbortController().signal) ?? []) return value;
  throw new Error('expected a value, found none');
}
