// Parts of plugins that listeners and routes enable, each with its own settings. Two of the plugins are those of
// docs/plugins.
import { fileURLToPath } from 'node:url';
import type { Endpoint } from '@meshgate/core';
import { tlsBackend, tlsClient } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { queriesOf } from '../src/admin/route-queries.ts';
import { explanationText } from '../src/cli/tables.ts';
import { asWritten } from '../src/config/amend-config.ts';
import { folder, meshgate, routesTo, startGateway, TEST_CONFIG } from './daemon.ts';
import type { ReadyDaemon } from './daemon.ts';

const EXAMPLES = ['only-from-filter', 'nearby-resolver'].map((name) =>
  fileURLToPath(new URL(`../../../examples/plugins/dist/${name}.js`, import.meta.url)),
);
const REFUSING = `export default { name: 'refusing', install: (host) => host.offerLayer('refuse', ({ why }) => () => ({
  connect: () => Promise.reject(new Error(why)) })) };`;

const at = (name: string, parts: object = {}): object => ({ name, address: '127.0.0.1', port: 0, ...parts });
const nearby = (route: string, { host, port }: Endpoint): object => ({
  name: 'nearby',
  prefix: '127.',
  route,
  host,
  port,
});

async function listenerOf(gateway: ReadyDaemon, name: string): Promise<Endpoint> {
  const { listeners } = (await gateway.query('/listeners')).json as {
    readonly listeners: readonly (Endpoint & { name: string })[];
  };
  return listeners.find((one) => one.name === name) ?? expect.unreachable(name);
}

/** The access log line of a connection to `listener`, which the client closes unless it has been closed before. */
async function lineOf(gateway: ReadyDaemon, listener: string, serverName = 'api.example.com') {
  const client = await tlsClient(await listenerOf(gateway, listener), serverName).catch(() => undefined);
  client?.end();
  return gateway.line((line) => line['listener'] === listener && 'durationMs' in line && line['serverName'] !== 'x');
}

describe.each([1, 2])('with %d workers, parts of plugins', (workers) => {
  it('apply to the listeners and routes that use them, each with its own settings', async () => {
    await using api = await tlsBackend('api.example.com');
    const [route] = (
      routesTo({ name: 'api.example.com', address: api.address }) as { readonly routes: readonly object[] }
    ).routes;
    const listeners = [
      at('plain'),
      at('open', { filters: [{ name: 'only-from', network: '127.0.0.0/8' }] }),
      at('closed', { filters: [{ name: 'only-from', network: '10.0.0.0/8' }] }),
      at('near', { use: [nearby('near-the-listener', api.address)] }),
      at('barred', { use: [{ name: 'refuse', why: 'not from this listener' }] }),
      at('routed'),
    ];
    const routed = { ...route, name: 'routed', listeners: ['routed'], use: [nearby('near-the-route', api.address)] };
    await using files = await folder({
      'refusing.mjs': REFUSING,
      'routes.yaml': { routes: [route, routed] },
      'meshgate.yaml': { ...TEST_CONFIG, workers, listeners, plugins: [...EXAMPLES, './refusing.mjs'] },
    });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    expect(await lineOf(gateway, 'plain')).toMatchObject({ route: 'api' });
    expect(await lineOf(gateway, 'open')).toMatchObject({ route: 'api' });
    expect(await lineOf(gateway, 'closed')).toMatchObject({ code: 'REFUSED_BY_POLICY' });
    expect(await lineOf(gateway, 'near')).toMatchObject({ route: 'near-the-listener' });
    expect(await lineOf(gateway, 'barred')).toMatchObject({
      code: 'INTERNAL',
      reason: expect.stringContaining('not from this listener'),
    });
    expect(await lineOf(gateway, 'routed')).toMatchObject({ route: 'near-the-route' });
  });
});

describe('a route for a listener that does not exist', () => {
  const WARNING = 'route inner names listener "internl", which does not exist';
  const files = () =>
    folder({
      'routes.yaml': `routes:
  - { name: inner, serverNames: [ api.example.com ], listeners: [ main, internl ], backends: [] }
`,
      'meshgate.yaml': TEST_CONFIG,
    });

  it('is a warning of --check, with its position', async () => {
    await using dir = await files();
    const { stdout, status } = await meshgate(['gateway', '--config', 'meshgate.yaml', '--check'], dir.path);
    expect({ stdout, status }).toMatchObject({
      status: 0,
      stdout: expect.stringContaining(`warning: ${dir.path}/routes.yaml:2: ${WARNING}`),
    });
  });

  it('is a warning of a running gateway, at /ready, /routes and /explain', async () => {
    await using dir = await files();
    await using gateway = await startGateway(`${dir.path}/meshgate.yaml`);
    expect(await gateway.query('/ready')).toMatchObject({
      json: { warnings: [`source file:routes.yaml: ${WARNING}`] },
    });
    expect(await gateway.query('/routes')).toMatchObject({ json: { sources: [{ warnings: [WARNING] }] } });
    expect(await gateway.query('/explain?serverName=api.example.com&listener=main')).toMatchObject({
      json: { unknownListeners: ['internl'] },
    });
  });

  it('is shown by explain, like the requested listener', async () => {
    await using dir = await files();
    const { explain } = queriesOf(`${dir.path}/meshgate.yaml`, asWritten);
    expect(explanationText(await explain('api.example.com', 'main'))).toMatch(
      /warning +listener internl does not exist/,
    );
    expect(explanationText(await explain('other.example.com', 'mian'))).toMatch(
      /warning +listener mian does not exist/,
    );
  });
});
