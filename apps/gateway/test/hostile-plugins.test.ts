// Invalid plugins in the real process: a check and a start report the same, and name the plugin.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tlsBackend, tlsClient } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { folder, gatewayFolder, meshgate, routesTo, spawnGateway, startGateway, TEST_CONFIG } from './daemon.ts';
import type { Folder } from './daemon.ts';

/** A configuration with one plugin under `plugins`, and a route without a reachable backend. */
async function folderWith(source: string, settings: object = {}): Promise<Folder> {
  const nowhere = { name: 'api.example.com', address: { host: '127.0.0.1', port: 1 } };
  return folder({
    'routes.yaml': routesTo(nowhere),
    'mine.mjs': source,
    'meshgate.yaml': { ...TEST_CONFIG, plugins: [{ use: './mine.mjs', ...settings }] },
  });
}

/** Output and exit status of a check and of a start. */
async function verdicts(
  files: Folder,
): Promise<readonly { readonly status: number | null; readonly logged: string }[]> {
  const config = join(files.path, 'meshgate.yaml');
  const ends = await Promise.all([
    meshgate(['gateway', '--config', config, '--check']),
    meshgate(['gateway', '--config', config]),
  ]);
  return ends.map(({ status, stderr }) => ({ status, logged: stderr.replaceAll(`${files.path}/`, '') }));
}

const install = (body: string, head = ''): string => `${head}
export default { name: 'mine', async install(host, config) { ${body} } };`;

const WRONG: readonly { readonly claim: string; readonly plugin: string; readonly expected: string | RegExp }[] = [
  {
    claim: 'a module that throws while it is loaded',
    plugin: `throw new Error('no licence');`,
    expected: 'mine.mjs cannot be loaded: Error: no licence',
  },
  {
    claim: 'a module that is no JavaScript',
    plugin: 'export default {',
    expected: /mine\.mjs cannot be loaded: SyntaxError: .*; "node --check .*mine\.mjs" prints the line/,
  },
  {
    claim: 'a module whose import is not installed',
    plugin: `import { definePlugin } from '@meshgate/cure';`,
    expected: /Cannot find package '@meshgate\/cure'.*; install it in the folder of the plugin/,
  },
  {
    claim: 'a module without a plugin',
    plugin: 'export default 5;',
    expected:
      'mine.mjs cannot be loaded: TypeError: expected a plugin made by definePlugin as default export, found the number 5',
  },
  {
    claim: 'a plugin for another version of the plugin API',
    plugin: `export default { name: 'mine', apiVersion: 7, install() {} };`,
    expected: 'the plugin "mine" is written for version 7 of the plugin API, and this gateway has version 1',
  },
  {
    claim: 'an observer that is null',
    plugin: install('host.addObserver(null);'),
    expected: 'plugin "mine" cannot be installed: addObserver: expected an object with observe(), found null',
  },
  {
    claim: 'a source without watch',
    plugin: install(`host.addSource({ name: 'x' });`),
    expected: 'addSource: expected an object with watch(), found one without watch()',
  },
  {
    claim: 'a source without a name',
    plugin: install('host.addSource({ watch() {} });'),
    expected: 'addSource: expected a part with a name, found none',
  },
  {
    claim: 'a layer that is no function',
    plugin: install('host.wrapConnector({});'),
    expected: 'plugin "mine" cannot be installed: wrapConnector: expected a function',
  },
  {
    claim: 'a service for a place that does not exist',
    plugin: install(`host.addService({ name: 's', start() {}, stop() {} }, { in: 'cloud' });`),
    expected: `addService: expected in: 'primary' or 'carrier', found "cloud"`,
  },
  {
    claim: 'a transport that is named like a built-in one',
    plugin: install(`host.addTransport({ name: 'node', listen() {}, dial() {}, splice() {} });`),
    expected: 'addTransport: expected a name that no built-in transport has, found "node"',
  },
  {
    claim: 'an admin path that is none',
    plugin: install(`host.addAdminPath('../routes', () => ({ json: {} }));`),
    expected: 'addAdminPath: expected a path that begins with /, found "../routes"',
  },
  {
    claim: 'a counter whose name does not say that it is one',
    plugin: install(`host.metrics.counter({ name: 'hits', help: 'Hits' });`),
    expected: 'metrics: expected a name in lower case with _total at its end, found "hits"',
  },
  {
    claim: 'a promise of settings that are wrong',
    plugin: install(
      `await config.parsed; throw Object.assign(new Error('no'), { issues: [{ message: 'expected a string, found nothing', path: ['to', 'host'] }] });`,
    ),
    expected: 'to.host: expected a string, found nothing',
  },
  {
    claim: 'a plugin that ends the process while it is loaded',
    plugin: `process.exit(0);`,
    expected:
      'mine.mjs cannot be loaded: Error: process.exit(0) refused: a plugin cannot end the process (at mine.mjs:1:9)',
  },
  {
    claim: 'a plugin that forgets a promise that rejects',
    plugin: install(`void Promise.reject(new Error('no server'));`),
    expected: './mine.mjs: uncaught error: no server (at mine.mjs:2:',
  },
  {
    claim: 'a plugin that rejects with what is no error',
    plugin: install(`throw 'oops';`),
    expected: 'plugin "mine" cannot be installed: oops',
  },
];

describe.concurrent('a configuration is refused, by a check and by a start, for', () => {
  // Two processes each: starting all at once takes a while on a busy machine.
  it.each(WRONG)(
    '$claim',
    async ({ plugin, expected }) => {
      await using files = await folderWith(plugin);
      for (const { status, logged } of await verdicts(files)) {
        if (typeof expected === 'string') expect(logged).toContain(expected);
        else expect(logged).toMatch(expected);
        expect(logged).toMatch(/^meshgate.yaml:\d+:\d+: /m);
        expect(status).toBe(2);
      }
    },
    60_000,
  );

  it.each([
    ['a top-level await that never settles', 'await new Promise(() => {});', 'not done within 10 s: a top-level await'],
    [
      'an install that never settles',
      install('await new Promise(() => {});'),
      'cannot be installed: not done within 10 s',
    ],
  ])(
    '%s, after ten seconds',
    async (_claim, plugin, expected) => {
      await using files = await folderWith(plugin);
      for (const { status, logged } of await verdicts(files)) {
        expect(logged).toContain(expected);
        expect(status).toBe(2);
      }
    },
    40_000,
  );
});

describe('a plugin', () => {
  it('that never returns from a loop ends the process, and is named', async () => {
    // Blocks forever, without using the CPU that other tests need.
    await using files = await folderWith(install('Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);'));
    const { status, stderr } = await meshgate(['gateway', '--config', join(files.path, 'meshgate.yaml'), '--check']);
    expect(stderr).toContain('meshgate: ./mine.mjs: it blocks the event loop while it is loaded or installed for 15 s');
    // It was killed.
    expect(status).toBeNull();
  }, 90_000);

  it('that prints and ends the process keeps neither the log from being JSON nor the connections from finishing', async () => {
    await using backend = await tlsBackend('api.example.com');
    await using files = await folder({
      'routes.yaml': routesTo({ name: 'api.example.com', address: backend.address }),
      'mine.mjs': install(`host.addObserver({ observe({ type }) {
        if (type !== 'connection.routed') return;
        console.log('asked for', { one: 'route' });
        setImmediate(() => process.exit(0));
      } });`),
      'meshgate.yaml': { ...TEST_CONFIG, plugins: ['./mine.mjs'] },
    });
    await using gateway = await startGateway(join(files.path, 'meshgate.yaml'));
    await using client = await tlsClient(gateway.address, 'api.example.com');
    expect(await gateway.logged("printed by a plugin: asked for { one: 'route' }")).toMatchObject({ level: 'info' });
    await gateway.logged('uncaught exception, draining before exit');
    expect(await client.echo('not cut')).toBe('not cut');
    client.end();
    expect(await gateway.ended).toBe(1);
  });

  it('that adds a part after it was installed gets an error there, and the gateway continues', async () => {
    await using files = await folderWith(
      install(
        `host.addService({ name: 'late', stop: async () => {}, async start() { try { host.addObserver({ observe() {} }); } catch (e) { host.log.warn(e.message); } } });`,
      ),
    );
    await using gateway = await startGateway(join(files.path, 'meshgate.yaml'));
    const line = await gateway.logged(
      'addObserver: expected parts while the plugin is installed, found one afterwards',
    );
    expect(line).toMatchObject({ plugin: 'mine' });
  });

  it('is found as an ESM-only package next to the configuration', async () => {
    await using files = await folderWith(install(''));
    const home = join(files.path, 'node_modules', 'mine');
    await mkdir(home, { recursive: true });
    const manifest = { name: 'mine', type: 'module', exports: { '.': { import: './index.js' } } };
    await writeFile(join(home, 'package.json'), JSON.stringify(manifest));
    await writeFile(join(home, 'index.js'), install(`host.log.info('here');`));
    const config = await files.write('package.yaml', { ...TEST_CONFIG, plugins: ['mine'] });
    expect(await meshgate(['gateway', '--config', config, '--check'])).toMatchObject({ status: 0 });
    await using gateway = await startGateway(config);
    expect(await gateway.logged('here')).toMatchObject({ plugin: 'mine' });
  });

  it('shows its admin path, metrics and warning, and reads the routes', async () => {
    await using files = await folderWith(
      install(`
        host.metrics.counter({ name: 'asked_total', help: 'Questions' }).add(2);
        host.metrics.gauge({ name: 'depth', help: 'Depth', labels: ['of'] }).set(3, { of: 'queue' });
        host.reportWarning('the licence ends in 3 days');
        host.addAdminPath('/lookup', ({ query }) => ({ json: { route: host.routes.lookup(query.get('name'))?.name, role: host.process } }));
        host.addAdminPath('/broken', () => { throw new Error('oops'); });`),
    );
    await using gateway = await startGateway(join(files.path, 'meshgate.yaml'));
    expect(await gateway.query('/plugins/mine/lookup?name=api.example.com')).toEqual({
      status: 200,
      json: { route: 'api', role: 'single' },
    });
    expect(await gateway.query('/plugins/mine/broken')).toEqual({
      status: 500,
      json: { error: '/plugins/mine/broken: oops' },
    });
    expect((await gateway.query('/ready')).json).toMatchObject({
      warnings: ['plugin mine: the licence ends in 3 days'],
    });
    const metrics = await (await fetch(new URL('/metrics', gateway.admin))).text();
    expect(metrics).toContain('meshgate_plugin_mine_asked_total 2');
    expect(metrics).toContain('meshgate_plugin_mine_depth{of="queue"} 3');
  });

  it('runs services in the primary and where connections are carried, and knows the role of its process', async () => {
    await using backend = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([backend], { workers: 2, transport: 'node', plugins: ['./mine.mjs'] });
    const service = (name: string): string =>
      `{ name: '${name}', async start() { host.log.info('${name} runs in the ' + host.process); }, async stop() {} }`;
    await files.write(
      'mine.mjs',
      install(
        `host.addService(${service('once')}); host.addService(${service('carrier')}, { in: 'carrier' });
         const seen = host.metrics.counter({ name: 'closed_total', help: 'Closed connections' });
         if (host.process === 'worker') host.addObserver({ observe: ({ type }) => type === 'connection.closed' && seen.add() });`,
      ),
    );
    await using gateway = await startGateway(join(files.path, 'meshgate.yaml'));
    const logged = gateway.lines.map(({ msg }) => msg).filter((msg) => /runs in the/.test(String(msg)));
    expect(logged.map(String).toSorted((one, other) => one.localeCompare(other))).toEqual([
      'carrier runs in the worker',
      'carrier runs in the worker',
      'once runs in the primary',
    ]);
    const client = await tlsClient(gateway.address, 'api.example.com', { ca: backend.ca });
    await client.echo('hello');
    await client[Symbol.asyncDispose]();
    const series = async (): Promise<string> => (await fetch(new URL('/metrics', gateway.admin))).text();
    await expect.poll(series).toContain('meshgate_plugin_mine_closed_total 1');
  });

  it('whose service does not start keeps the gateway from starting, and is named', async () => {
    await using files = await folderWith(
      install(
        `host.addService({ name: 'ldap', start: async () => { throw new Error('no server'); }, stop: async () => {} });`,
      ),
    );
    await using gateway = spawnGateway(join(files.path, 'meshgate.yaml'));
    expect(await gateway.ended).toBe(1);
    expect(gateway.lines.map(({ msg }) => msg)).toContain(
      'cannot start: service "ldap" of the plugin "mine": no server',
    );
  });
});
