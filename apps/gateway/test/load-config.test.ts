import { ConfigProblems } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../src/config/load-config.ts';
import type { LoadedConfig } from '../src/config/load-config.ts';
import { folder } from './daemon.ts';
import type { Folder } from './daemon.ts';

const ROUTES = 'routes:\n  - { serverNames: [ a.example ], backends: [ { address: 10.0.0.1, port: 1 } ] }\n';
const LISTENERS = 'listeners: [ { address: 127.0.0.1, port: 0 } ]';
const FILE = '{ use: file, path: routes.yaml }';

/** Loads a configuration of these lines, with these files beside it. */
async function load(lines: readonly string[], files: Readonly<Record<string, string>> = {}): Promise<Loaded> {
  const beside = await folder({ 'routes.yaml': ROUTES, ...files });
  const file = await beside.write('meshgate.yaml', `${lines.join('\n')}\n`);
  try {
    return { loaded: await loadConfig(file), problems: [], folder: beside };
  } catch (reason) {
    if (!(reason instanceof ConfigProblems)) throw reason;
    const problems = reason.message.split('\n').map((line) => line.replaceAll(`${beside.path}/`, ''));
    return { loaded: undefined, problems, folder: beside };
  } finally {
    await beside[Symbol.asyncDispose]();
  }
}

interface Loaded {
  readonly loaded: LoadedConfig | undefined;
  readonly problems: readonly string[];
  readonly folder: Folder;
}

const plugin = (install: string): string => `export default { name: 'mine', install(host, config) { ${install} } };`;
const addsSource = plugin(`host.addSource({ name: config.called ?? 'mine', async *watch() {} });`);

describe('a loaded configuration', () => {
  it('has the sources of its plugins, in the order of the file', async () => {
    const sources = `sources: [ ${FILE}, { use: ./mine.mjs, called: second }, { use: ./mine.mjs } ]`;
    const { loaded, problems } = await load([LISTENERS, sources], { 'mine.mjs': addsSource });
    expect(problems).toEqual([]);
    expect(loaded?.parts.sources.map(({ name }) => name)).toEqual(['file:routes.yaml', 'second', 'mine']);
  });

  it('has the parts of plugins other than sources, and passes each its settings and the folder of the file', async () => {
    const observing = plugin(`host.addObserver({ name: config.as + ' in ' + host.baseDir, observe() {} });`);
    const plugins = 'plugins: [ { use: ./mine.mjs, as: seen } ]';
    const { loaded, folder: beside } = await load([LISTENERS, `sources: [ ${FILE} ]`, plugins], {
      'mine.mjs': observing,
    });
    expect(loaded?.parts.observers.map(({ name }) => name)).toEqual([`seen in ${beside.path}`]);
  });

  it('keeps its state in a folder relative to the file', async () => {
    const { loaded, folder: beside } = await load([LISTENERS, `sources: [ ${FILE} ]`, 'stateDir: state']);
    expect(loaded?.config.stateDir).toBe(`${beside.path}/state`);
  });

  it('may name a transport of a plugin', async () => {
    const offering = plugin(`host.addTransport({ name: 'pigeon', listen() {}, dial() {}, splice() {} });`);
    const lines = [LISTENERS, `sources: [ ${FILE} ]`, 'plugins: [ ./mine.mjs ]', 'transport: pigeon'];
    const { loaded } = await load(lines, { 'mine.mjs': offering });
    expect(loaded?.transport.transport.name).toBe('pigeon');
  });
});

describe('a route that uses a layer', () => {
  const offering = plugin(`host.offerLayer('hedge', (settings) => {
    if (typeof settings.after !== 'string') throw Object.assign(new Error(), { issues: [{ message: 'expected a duration', path: ['after'] }] });
    return (inner) => inner;
  });`);
  const lines = [LISTENERS, `sources: [ ${FILE} ]`, 'plugins: [ ./mine.mjs ]'];
  const using = (use: string): string => `${ROUTES.replace(' }\n', '')},\n      use: ${use} }\n`;
  const loadUsing = (use: string, more = offering) => load(lines, { 'mine.mjs': more, 'routes.yaml': using(use) });

  it('is valid when a plugin offers it and accepts its settings, wherever the plugin is in the file', async () => {
    expect((await loadUsing('[ { name: hedge, after: 50ms } ]')).problems).toEqual([]);
  });

  it.each([
    [
      '[ { name: hegde } ]',
      'routes.yaml:3:14: expected a layer or resolver that a plugin offers, found "hegde": did you mean "hedge"?',
    ],
    ['[ { name: hedge } ]', 'routes.yaml:3:14: after: expected a duration'],
    ['[ { after: 5ms } ]', 'routes.yaml:3:14: expected the key "name", found none'],
  ])('is rejected with the position: %s', async (use, problem) => {
    expect((await loadUsing(use)).problems).toEqual([problem]);
  });

  it('is rejected when no plugin offers any', async () => {
    expect((await loadUsing('[ { name: hedge } ]', plugin(''))).problems).toEqual([
      'routes.yaml:3:14: expected a layer or resolver that a plugin offers, found "hedge"; no plugin offers one',
    ]);
  });
});

describe('a route that names the balance of a plugin', () => {
  const offering = plugin(`host.offerBalance('tenant', ({ label }) => {
    if (typeof label !== 'string') throw Object.assign(new Error(), { issues: [{ message: 'expected a label', path: ['label'] }] });
    return { pick: ([first]) => first };
  });`);
  const lines = [LISTENERS, `sources: [ ${FILE} ]`, 'plugins: [ ./mine.mjs ]'];
  const balanced = (balance: string): string => `${ROUTES.replace(' }\n', '')},\n      balance: ${balance} }\n`;

  it.each([
    ['{ name: tenant, label: shard }', []],
    [
      '{ name: tennant }',
      ['routes.yaml:3:16: expected a balance that a plugin offers, found "tennant": did you mean "tenant"?'],
    ],
    ['{ name: tenant }', ['routes.yaml:3:16: label: expected a label']],
    ['{ label: shard }', ['routes.yaml:3:16: expected the key "name", found none']],
    ['least_conn', [expect.stringContaining('routes.yaml:3:16: expected one of round_robin, least_connections')]],
  ])('is validated with the position: %s', async (balance, problems) => {
    const files = { 'mine.mjs': offering, 'routes.yaml': balanced(balance) };
    expect((await load(lines, files)).problems).toEqual(problems);
  });
});

describe('a listener that uses parts', () => {
  const offering = plugin(`
    host.offerFilter('knock', ({ line }) => {
      if (typeof line !== 'string') throw Object.assign(new Error(), { issues: [{ message: 'expected a line', path: ['line'] }] });
      return { name: 'knock', filter() {} };
    });
    host.addFilter({ name: 'plain', filter() {} });
    host.offerFilter('broken', () => null);
    host.offerResolver('mine', () => ({ resolve() {} }));`);
  const loadUsing = (parts: string, more = offering) =>
    load(
      [`listeners: [ { address: 127.0.0.1, port: 0, ${parts} } ]`, `sources: [ ${FILE} ]`, 'plugins: [ ./mine.mjs ]'],
      {
        'mine.mjs': more,
      },
    );

  it.each([
    'filters: [ postgres, { name: knock, line: sesame }, plain ]',
    'filters: [ { name: postgres } ]',
    'use: [ { name: mine } ]',
  ])('is valid when they are offered and accept their settings: %s', async (parts) =>
    expect((await loadUsing(parts)).problems).toEqual([]),
  );

  it.each([
    ['filters: [ knock ]', 'expected a line'],
    ['filters: [ { name: knock, line: 1 } ]', 'expected a line'],
    ['filters: [ { name: plain, line: 1 } ]', 'the filter "plain" has no settings'],
    ['filters: [ { name: postgres, tls: on } ]', 'the filter "postgres" has no settings'],
    ['filters: [ { line: 1 } ]', 'expected the key "name", found none'],
    [
      'filters: [ broken ]',
      'the filter "broken" rejects its settings: "broken": expected an object with filter(), found null',
    ],
    ['filters: [ mine ]', '"mine" is a resolver: expected it in use of a listener or a route'],
    ['use: [ { name: knock } ]', '"knock" is a filter: expected it in filters of a listener'],
    [
      'use: [ { name: mien } ]',
      'expected a layer or resolver that a plugin offers, found "mien": did you mean "mine"?',
    ],
  ])('is rejected with the position: %s', async (parts, problem) => {
    const { problems } = await loadUsing(parts);
    expect(problems).toEqual([expect.stringContaining(problem)]);
    expect(problems[0]).toMatch(/^meshgate\.yaml:1:\d+: /);
  });

  it.each([
    [
      `host.addFilter({ name: 'postgres', filter() {} });`,
      'addFilter: expected a name that no built-in filter has, found "postgres"',
    ],
    [
      `host.offerFilter('postgres', () => ({ filter() {} }));`,
      'offerFilter: expected a name that no built-in filter has, found "postgres"',
    ],
    [
      `host.offerLayer('one', () => (inner) => inner); host.offerFilter('one', () => ({ filter() {} }));`,
      'offerFilter: expected a name that no other layer has, found "one"',
    ],
  ])('never gets another part than the named one, since names are unique: %s', async (install, problem) => {
    expect((await loadUsing('', plugin(install))).problems).toEqual([expect.stringContaining(problem)]);
  });
});

const WRONG: readonly {
  readonly claim: string;
  readonly lines: readonly string[];
  readonly plugin?: string;
  readonly routes?: string;
  readonly problems: readonly (string | RegExp)[];
}[] = [
  {
    claim: 'a built-in plugin that is mistyped',
    lines: [LISTENERS, 'sources: [ { use: flie, path: routes.yaml } ]'],
    problems: [/^meshgate.yaml:2:12: flie cannot be loaded: .*; did you mean "file"\?$/],
  },
  {
    claim: 'a plugin whose file is missing',
    lines: [LISTENERS, 'sources: [ { use: ./gone.mjs } ]'],
    problems: [/^meshgate.yaml:2:12: gone.mjs cannot be loaded: Error: ENOENT: no such file or directory/],
  },
  {
    claim: 'a plugin that throws when it is loaded',
    lines: [LISTENERS, `sources: [ ${FILE}, { use: ./mine.mjs } ]`],
    plugin: `throw new TypeError('no licence');`,
    problems: ['meshgate.yaml:2:46: mine.mjs cannot be loaded: TypeError: no licence (at mine.mjs:1:7)'],
  },
  {
    claim: 'a plugin without a default export',
    lines: [LISTENERS, `sources: [ ${FILE} ]`, 'plugins: [ ./mine.mjs ]'],
    plugin: `export const plugin = {};`,
    problems: [
      'meshgate.yaml:3:12: mine.mjs cannot be loaded: TypeError: expected a plugin made by definePlugin as default export, found only exports named plugin',
    ],
  },
  {
    claim: 'a plugin that throws when it is installed',
    lines: [LISTENERS, `sources: [ ${FILE} ]`, 'plugins: [ ./mine.mjs ]'],
    plugin: plugin(`throw new Error('out of luck');`),
    problems: ['meshgate.yaml:3:12: plugin "mine" cannot be installed: out of luck (at mine.mjs:1:62)'],
  },
  {
    claim: 'a plugin whose install rejects',
    lines: [LISTENERS, `sources: [ ${FILE} ]`, 'plugins: [ ./mine.mjs ]'],
    plugin: `export default { name: 'mine', async install() { throw new Error('too late'); } };`,
    problems: ['meshgate.yaml:3:12: plugin "mine" cannot be installed: too late (at mine.mjs:1:56)'],
  },
  {
    claim: 'settings that a schema library refuses, at the key that is wrong',
    lines: [LISTENERS, 'sources:', '  - { use: ./mine.mjs, deep: { port: x } }'],
    plugin: plugin(
      `throw Object.assign(new Error('no'), { issues: [ { message: 'not a port', path: ['deep', 'port'] } ] });`,
    ),
    problems: ['meshgate.yaml:3:32: not a port'],
  },
  {
    claim: 'settings of a built-in plugin that are wrong, at the key that is wrong',
    lines: [LISTENERS, 'sources:', '  - { use: file, pth: routes.yaml, poll: 3 }'],
    problems: [
      'meshgate.yaml:3:18: unknown key "pth": did you mean "path"?',
      /^meshgate.yaml:3:36: expected a duration/,
    ],
  },
  {
    claim: 'mistakes in the configuration and in a route file, all at once',
    lines: ['listener: []', `sources: [ ${FILE} ]`],
    routes: 'routes: [ { serverNames: [ "*" ] } ]\n',
    problems: [
      'meshgate.yaml:1:1: unknown key "listener": did you mean "listeners"?',
      'meshgate.yaml:1:1: expected at least one listener, found none',
      'routes.yaml:1:11: expected the key "backends", found none',
    ],
  },
  {
    claim: 'a transport that nobody knows, and what is lacking, beside mistakes everywhere else',
    lines: ['listeners: []', 'transport: epol', 'sources:', `  - ${FILE}`, 'limit: {}', 'workers: 0'],
    routes: 'routes: [ { serverNames: [ "*" ] } ]\n',
    problems: [
      'meshgate.yaml:1:1: expected at least one listener, found none',
      'meshgate.yaml:2:1: expected one of auto, uring, epoll, node, found "epol"',
      'meshgate.yaml:5:1: unknown key "limit": did you mean "limits"?',
      'meshgate.yaml:6:1: expected an integer from 1 to 1024, found the number 0',
      'routes.yaml:1:11: expected the key "backends", found none',
    ],
  },
  {
    claim: 'a plugin that cannot be installed, and of nothing that it might have added',
    lines: ['sources: [ { use: ./mine.mjs } ]', 'transport: carrier'],
    plugin: plugin('throw new Error("oops");'),
    problems: ['meshgate.yaml:1:12: plugin "mine" cannot be installed: oops (at mine.mjs:1:62)'],
  },
  {
    claim: 'a mistake in a route file that two sources read, once',
    lines: [LISTENERS, 'sources:', `  - ${FILE}`, '  - { use: file, path: routes.yaml, name: again }'],
    routes: 'routes: [ { serverNames: [ "*" ] } ]\n',
    problems: ['routes.yaml:1:11: expected the key "backends", found none'],
  },
  {
    claim: 'a source that adds none',
    lines: [LISTENERS, 'sources: [ { use: ./mine.mjs } ]'],
    plugin: plugin(''),
    problems: ['meshgate.yaml:2:12: plugin "mine" adds no source: list it under plugins'],
  },
  {
    claim: 'two sources of one name',
    lines: [LISTENERS, `sources: [ ${FILE}, ${FILE} ]`],
    problems: ['meshgate.yaml:2:1: expected sources with different names, found two that are named "file:routes.yaml"'],
  },
  {
    claim: 'nothing to listen on and nothing to route',
    lines: ['admin: false'],
    problems: [
      'meshgate.yaml:1:1: expected at least one source of routes, found none',
      'meshgate.yaml:1:1: expected at least one listener, found none',
    ],
  },
  {
    claim: 'a transport that nobody knows',
    lines: [LISTENERS, `sources: [ ${FILE} ]`, 'transport: carrier'],
    problems: ['meshgate.yaml:3:1: expected one of auto, uring, epoll, node, found "carrier"'],
  },
  {
    claim: 'a way of carrying that the transport does not know',
    lines: [LISTENERS, `sources: [ ${FILE} ]`, 'transport: { splice: copy }'],
    problems: ['meshgate.yaml:3:14: expected use: epoll or uring beside splice: copy, found auto'],
  },
  {
    claim: 'a way of carrying that nobody knows',
    lines: [LISTENERS, `sources: [ ${FILE} ]`, 'transport: { use: epoll, splice: zip }'],
    problems: ['meshgate.yaml:3:26: expected one of auto, copy, splice, found "zip"'],
  },
];

describe('the reported problems', () => {
  it.each(WRONG)('$claim', async ({ lines, plugin: text, routes, problems: expected }) => {
    const files = {
      ...(text !== undefined && { 'mine.mjs': text }),
      ...(routes !== undefined && { 'routes.yaml': routes }),
    };
    const { problems } = await load(lines, files);
    expect(problems).toEqual(expected.map((one) => (typeof one === 'string' ? one : expect.stringMatching(one))));
  });
});

describe('mesh files of a gateway', () => {
  const MESH =
    'sources: [ { use: file, mesh: mesh, datacenter: dc1, trustDomain: 11111111-2222-3333-4444-555555555555.consul } ]';
  const gateway = (id: string): string => `service { kind = "mesh-gateway", name = "gw", id = "${id}", port = 8443 }\n`;

  it('must define it when the configuration has no listener', async () => {
    const files = { 'mesh/dc1/web.hcl': 'service { name = "web" }' };
    expect((await load([MESH], files)).problems).toEqual([
      'meshgate.yaml:1:1: expected at least one listener, found none: no mesh-gateway is defined in datacenter dc1',
    ]);
    expect((await load([LISTENERS, MESH], files)).problems).toEqual([]);
    expect((await load([MESH], { 'mesh/dc1/gw.hcl': gateway('gw-1') })).problems).toEqual([]);
  });

  it('may not define several unless one is selected', async () => {
    const files = { 'mesh/dc1/gw.hcl': gateway('gw-1') + gateway('gw-2') };
    expect((await load([MESH], files)).problems).toEqual([
      'meshgate.yaml:1:12: expected one mesh-gateway in datacenter dc1, found gw-1, gw-2: select one with the setting "gateway"',
    ]);
  });
});
