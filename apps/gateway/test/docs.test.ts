import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSettings } from '@meshgate/consul-source';
import { ProxyError, SIDES } from '@meshgate/core';
import { parseRouteFile } from '@meshgate/file-source';
import { ALERTS } from '@meshgate/metrics';
import { rawClient, tlsBackend, tlsClient } from '@meshgate/testkit';
import type { Peer } from '@meshgate/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { accessEntry } from '../src/log/access-log.ts';
import { adminEndpoints, RouteChangeFeed } from '../src/admin/endpoints.ts';
import { readinessOf } from '../src/admin/readiness.ts';
import { parseConfig } from '../src/config/config.ts';
import { configSchema } from '../src/config/config-schema.ts';
import { EFFECTS } from '../src/run/setting-effects.ts';
import { gatewayFolder, startGateway } from './daemon.ts';
import type { Folder, ReadyDaemon } from './daemon.ts';
import { blocksIn, pageText, ROOT } from './page.ts';
import type { Block } from './page.ts';
import { CAUSES } from './bad-night/causes.ts';
import type { Cause } from './bad-night/causes.ts';

const PAGES = [
  'README.md',
  'docs/consul.md',
  'docs/mesh-gateways.md',
  'docs/peering.md',
  'docs/sidecar.md',
  'docs/operate/config.md',
  'docs/operate/shutdown.md',
  'docs/operate/logs.md',
  'docs/operate/admin.md',
  'docs/operate/page.md',
  'docs/operate/commands.md',
  'docs/operate/workers.md',
  'docs/operate/install.md',
  'docs/operate/upgrade.md',
  'docs/troubleshooting.md',
  'docs/plugins/route-source.md',
  'docs/plugins/filter.md',
  'docs/filters.md',
  'docs/access.md',
  'examples/two-clusters/README.md',
  'examples/two-datacenters/README.md',
  'apps/gateway/README.md',
  'packages/core/README.md',
  'packages/mesh/README.md',
  'packages/consul-source/README.md',
];

/** The fenced blocks of a page whose opening line begins with `opening`. */
function blocks(page: string, opening: string): readonly Block[] {
  return blocksIn(pageText(page), opening);
}

describe('docs/troubleshooting.md', () => {
  it('names only codes, metrics and messages that exist', () => {
    const page = pageText('docs/troubleshooting.md');
    const codes = Array.from(page.matchAll(/`([A-Z]+(?:_[A-Z]+)+|DENIED|INTERNAL)`/g), ([, code = '']) => code);
    expect(codes.filter((code) => !(code in SIDES))).toEqual([]);
    expect(codes.length).toBeGreaterThan(15);
    const metrics = Array.from(page.matchAll(/meshgate_\w+/g), ([name]) => name);
    const documented = pageText('docs/metrics.md') + pageText('docs/operate/logs.md');
    expect(metrics.filter((name) => !documented.includes(name))).toEqual([]);
  });

  it('has every code and every alert once, where a search for it ends', () => {
    const inFirstColumn = (heading: string): readonly string[] =>
      rowsUnder(heading).flatMap(([first = '']) => Array.from(first.matchAll(/`(\w+)`/g), ([, word = '']) => word));
    expect(
      inFirstColumn('By code')
        .filter((word) => word in SIDES)
        .toSorted(),
    ).toEqual(expect.arrayContaining(Object.keys(SIDES)));
    expect(inFirstColumn('By alert')).toEqual(ALERTS.map(({ alert }) => alert));
  });

  it('has every reason and warning that readiness begins with', () => {
    const source = { name: 'NAME', warnings: ['w'], error: new Error('why'), lastSuccess: undefined };
    const vitals = { sources: [source, { ...source, lastSuccess: new Date() }], listeners: [], drain: 'announcing' };
    const { reasons, warnings } = readinessOf({ ...vitals, logTrouble: 'full' } as never);
    const beginnings = rowsUnder('By reason and warning').map(([first = '']) => /`(.+?)`/.exec(first)?.[1] ?? '');
    const all = [...reasons, ...warnings];
    expect(all.filter((one) => !beginnings.some((beginning) => one.startsWith(beginning)))).toEqual([]);
    expect(all.length).toBeGreaterThan(4);
  });

  it('leads to sections that exist', () => {
    const page = pageText('docs/troubleshooting.md');
    const sections = Array.from(page.matchAll(/^## (.*)$/gm), ([, name = '']) =>
      name.toLowerCase().replaceAll(' ', '-'),
    );
    const links = Array.from(page.matchAll(/\]\(#([\w-]+)\)/g), ([, name = '']) => name);
    expect(links.filter((link) => !sections.includes(link))).toEqual([]);
    expect(links.length).toBeGreaterThan(8);
  });
});

/** The rows of the table of a section of docs/troubleshooting.md. */
function rowsUnder(heading: string): readonly (readonly string[])[] {
  const [, section = ''] = pageText('docs/troubleshooting.md').split(`## ${heading}\n`);
  const [table = ''] = section.split('\n## ');
  const rows = Array.from(table.matchAll(/^\|(.*)\|$/gm), ([, row = '']) =>
    row.split(/(?<!\\)\|/).map((cell) => cell.trim()),
  );
  return rows.slice(2);
}

describe('the causes of docs/troubleshooting.md', () => {
  it('are the injected ones, each with the alert that fires', () => {
    const section = pageText('docs/troubleshooting.md').split('## By cause')[1] ?? '';
    const rows = Array.from(section.matchAll(/^\| (.+?) +\|.*\| (\S+) +\|$/gm), ([, cause, alert]) => [cause, alert]);
    const injected = Object.values<Cause>(CAUSES).map(({ cause, alert }) => [
      cause,
      alert === undefined ? 'none' : `\`${alert}\``,
    ]);
    expect(rows.slice(2)).toEqual(injected);
  });

  it('are each in a test', () => {
    const tests = ['bad-night', 'machine', 'network', 'log']
      .map((name) => readFileSync(new URL(`bad-night/${name}.test.ts`, import.meta.url), 'utf8'))
      .join('');
    expect(Object.keys(CAUSES).filter((name) => !new RegExp(`\\b${name}\\b`).test(tests))).toEqual([]);
  });
});

describe('docs/consul.md', () => {
  it('shows a configuration with Consul, which provides the listen addresses', () => {
    const [sample] = blocks('docs/consul.md', 'yaml');
    const { listeners, sources } = parseConfig(sample?.text ?? '', 'meshgate.yaml');
    expect({ listeners, sources }).toMatchObject({ listeners: [], sources: [{ use: 'consul' }] });
    const { register } = parseSettings(sources[0]?.settings);
    expect(register).toMatchObject({ address: '10.0.0.5:8443' });
  });
});

describe('the image of docs/operate/install.md', () => {
  const dockerfile = /```dockerfile\n(.*?)```/s.exec(pageText('docs/operate/install.md'))?.[1] ?? '';
  const instruction = (name: string): string => new RegExp(`^${name} (.*)$`, 'm').exec(dockerfile)?.[1] ?? '';
  const root = JSON.parse(pageText('package.json')) as {
    readonly engines: { readonly node: string };
    readonly packageManager: string;
    readonly scripts: Readonly<Record<string, string>>;
  };

  it('is built by existing commands, with a recent enough Node', () => {
    expect(dockerfile).toContain('corepack enable && pnpm install --frozen-lockfile && pnpm build');
    expect(root.packageManager).toMatch(/^pnpm@/);
    expect(root.scripts['build']).toBeDefined();
    const [major = 0] = Array.from(dockerfile.matchAll(/FROM node:(\d+)-/g), ([, version]) => Number(version));
    expect(major).toBeGreaterThanOrEqual(Number(/\d+/.exec(root.engines.node)?.[0]));
  });

  it('does not copy what a build of the checkout has left, which .gitignore lists', () => {
    const lines = (file: string): readonly string[] =>
      pageText(file)
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith('#'));
    const ignored = lines('.dockerignore').map((line) => line.replace(/^\*\*\//, ''));
    for (const leftover of ['node_modules', 'dist', '.turbo', '*.tsbuildinfo'])
      if (lines('.gitignore').some((line) => line.replaceAll('/', '') === leftover))
        expect(ignored).toContain(leftover);
    expect(ignored).toContain('node_modules');
  });

  it('runs the command as process 1, so that it receives signals, as a user other than root', () => {
    const entrypoint = JSON.parse(instruction('ENTRYPOINT')) as readonly string[];
    const [, inImage = ''] = entrypoint;
    expect(entrypoint).toEqual(['node', '/opt/meshgate/apps/gateway/dist/main.js']);
    const copied = instruction('COPY --from=build').split(' ');
    expect(copied).toEqual(['/src', '/opt/meshgate']);
    const here = inImage.replace('/opt/meshgate/', '');
    expect(readFileSync(join(ROOT, here), 'utf8')).toMatch(/^#!/);
    expect((JSON.parse(pageText('apps/gateway/package.json')) as { bin: { meshgate: string } }).bin.meshgate).toBe(
      `./${here.replace('apps/gateway/', '')}`,
    );
    expect(Number(instruction('USER'))).toBeGreaterThan(0);
    expect(JSON.parse(instruction('CMD'))).toEqual(['gateway', '--config', '/etc/meshgate/meshgate.yaml']);
  });
});

describe('docs/operate/install.md', () => {
  it('gives a unit and a pod more time to stop than its example of a drain takes', () => {
    const page = pageText('docs/operate/install.md');
    const patience = Array.from(page.matchAll(/(?:TimeoutStopSec=|terminationGracePeriodSeconds: )(\d+)/g), ([, s]) =>
      Number(s),
    );
    expect(patience).toEqual([80, 80]);
  });
});

/** The code spans in the first column of the tables of a page. */
function firstColumn(page: string): readonly string[] {
  return Array.from(pageText(page).matchAll(/^\| `([^`]+)`/gm), ([, cell = '']) => cell);
}

const configs = PAGES.flatMap((page) =>
  blocks(page, 'yaml')
    .filter(({ label }) => label === 'config')
    .map(({ text }) => ({ page, text })),
);

describe('every page', () => {
  it.each(configs)('shows valid configurations: $page', ({ text }) => {
    expect(parseConfig(text, 'meshgate.yaml').listeners.length).toBeGreaterThan(0);
  });

  const files = PAGES.flatMap((page) =>
    ['ts', 'yaml'].flatMap((language) => blocks(page, language)).map((block) => ({ page, ...block })),
  );
  it.each(files.filter(({ label }) => label.includes('/')))('shows $label as it is: $page', ({ label, text }) => {
    expect(pageText(label)).toContain(text);
  });

  it('links to existing pages', () => {
    for (const page of PAGES) {
      const links = pageText(page).matchAll(/\]\((?!https?:)([^)#]+)/g);
      for (const [, link = ''] of links)
        expect(() => readFileSync(join(ROOT, page, '..', link)), `${link} in ${page}`).not.toThrow('ENOENT');
    }
  });
});

describe.each([
  ['README.md', 'api'],
  ['apps/gateway/README.md', 'api.example.com'],
])('%s', (page, name) => {
  it('shows a valid route file', () => {
    const [routes] = blocks(page, 'yaml').filter(({ label }) => label === 'routes');
    expect(parseRouteFile(routes?.text ?? '', 'routes.yaml')).toMatchObject({ routes: [{ name }], problems: [] });
  });
});

describe('docs/operate/config.md', () => {
  it('has every setting, and no other', () => {
    const documented = firstColumn('docs/operate/config.md').filter((setting) => setting !== '$schema');
    expect([...documented].sort()).toEqual(
      [...settingsOf(z.toJSONSchema(configSchema, { io: 'input' }) as Schema)].sort(),
    );
  });

  it('shows the defaults', () => {
    const [example] = blocks('docs/operate/config.md', 'yaml');
    const { listeners, sources } = parseConfig(example?.text ?? '', 'meshgate.yaml');
    const least = parseConfig(
      'listeners: [ { name: public, address: 127.0.0.1, port: 8443 } ]\nsources: [ { use: file, path: routes.yaml } ]',
      'm.yaml',
    );
    expect(parseConfig(example?.text ?? '', 'meshgate.yaml')).toEqual({ ...least, listeners, sources });
  });
});

describe('docs/operate/upgrade.md', () => {
  it('documents for every setting when it takes effect after a reload', () => {
    const page = pageText('docs/operate/upgrade.md');
    const rows = Array.from(page.matchAll(/^\| `([^`]+)` +\| (At once|For new connections|After a restart)/gm));
    const effects = { now: 'At once', 'new connections': 'For new connections', restart: 'After a restart' };
    expect(rows.map(([, setting = '', when]) => [setting, when])).toEqual(
      Object.entries(EFFECTS).map(([setting, effect]) => [setting, effects[effect]]),
    );
    const { properties = {} } = z.toJSONSchema(configSchema, { io: 'input' }) as Schema;
    const groups = Object.keys(EFFECTS).map((setting) => setting.split('.')[0]);
    expect(Object.keys(properties).filter((key) => key !== '$schema' && !groups.includes(key))).toEqual([]);
  });
});

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
}

/**
 * The paths of all settings: `limits.helloTimeout`, `listeners[].name`. Groups of settings with fixed keys are not
 * settings themselves, unless they can be off.
 */
function* settingsOf({ properties = {} }: Schema, above = ''): Generator<string> {
  for (const [key, value] of Object.entries(properties)) {
    if (key === '$schema') continue;
    // A setting with a string shorthand has that string's meaning under a key of its own.
    const isGroup = value.properties !== undefined || (key === 'transport' && value.anyOf !== undefined);
    if (!isGroup) yield `${above}${key}`;
    yield* settingsOf(value, `${above}${key}.`);
    for (const form of value.anyOf ?? []) yield* settingsOf(form, `${above}${key}.`);
    for (const form of [value.items ?? {}, ...(value.items?.anyOf ?? [])]) yield* settingsOf(form, `${above}${key}[].`);
  }
}

describe('docs/operate/logs.md', () => {
  const connection = { id: '1', listener: 'l', remote: { host: 'h', port: 1 }, local: { host: 'h', port: 2 }, at: 0 };
  const hello = { protocol: 'tls', serverName: 's', alpn: [], trace: 1 };
  const error = new ProxyError('IDLE_TIMEOUT', '');
  const everything = {
    connection,
    hello,
    helloAt: 1,
    route: { name: 'r', serverNames: [], backends: [] },
    dialled: { host: 'b', port: 1 },
    attempts: 1,
    connectedAt: 1,
    transfer: { bytesUp: 1, bytesDown: 1, firstByteAt: 1, error },
    closedAt: 1,
    error,
  };

  it('has every field of the access log, in order', () => {
    const fields = ['time', ...Object.keys(accessEntry(everything, 1))];
    const documented = firstColumn('docs/operate/logs.md').filter((cell) => fields.includes(cell));
    expect(documented).toEqual(fields);
    const [line] = blocks('docs/operate/logs.md', 'jsonl');
    expect(Object.keys(JSON.parse(line?.text ?? '') as object)).toEqual(fields.slice(0, -3));
  });

  it('has every code, with the side at fault', () => {
    const page = pageText('docs/operate/logs.md');
    const documented = Array.from(page.matchAll(/^\| `([A-Z_]+)` +\| (\w+) /gm), ([, code, side]) => [code, side]);
    expect(Object.fromEntries(documented)).toEqual(SIDES);
  });
});

describe('docs/operate/admin.md', () => {
  let files: Folder;
  let gateway: ReadyDaemon;
  let silent: Peer;
  beforeAll(async () => {
    files = await gatewayFolder([{ name: 'api.example.com', address: { host: '10.0.0.1', port: 8443 } }]);
    gateway = await startGateway(`${files.path}/meshgate.yaml`);
    // One connection for the whole page, which the gateway has accepted before any query is sent.
    silent = await rawClient(gateway.address);
    await silent.send(Uint8Array.of(0x16));
    while (!JSON.stringify((await gateway.query('/connections')).json).includes('sniffing'));
  });
  afterAll(async () => {
    await silent[Symbol.asyncDispose]();
    await gateway[Symbol.asyncDispose]();
    await files[Symbol.asyncDispose]();
  });

  it('has every path, with its methods', () => {
    const endpoints = adminEndpoints({
      plugins: { adminPaths: new Map() },
      routeChanges: new RouteChangeFeed(),
    } as never);
    const methods = endpoints.map(({ method, path }) => `${method} ${path}`);
    const documented = firstColumn('docs/operate/admin.md').map((cell) => cell.replace(/\?.*/, ''));
    expect(documented).toEqual(methods);
  });

  const responses = ['docs/operate/admin.md', 'docs/operate/shutdown.md'].flatMap((page) => blocks(page, 'json'));
  it.each(responses)('shows the response to $label in its real form', async ({ label, text }) => {
    const { json } = await gateway.query(label.replace('GET ', ''));
    expect(shapeOf(json)).toEqual(shapeOf(JSON.parse(text)));
  });

  it('shows the real log line ready', async () => {
    const line = blocks('docs/operate/logs.md', 'jsonl').find(({ label }) => label === 'ready');
    expect(shapeOf(await gateway.logged('ready'))).toEqual(shapeOf(JSON.parse(line?.text ?? '')));
  });
});

/** The keys of a value and the kinds of its members, recursively. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shapeOf);
  if (typeof value !== 'object' || value === null) return typeof value;
  return Object.entries(value).map(([key, member]) => [key, shapeOf(member)]);
}

describe('docs/operate/shutdown.md', () => {
  it('has every phase of a drain, and a sufficient timeout for its example', () => {
    const page = pageText('docs/operate/shutdown.md');
    const [example] = blocks('docs/operate/shutdown.md', 'yaml');
    const { delayMs, graceMs, spreadMs } = parseConfig(example?.text ?? '', 'meshgate.yaml').drain;
    const patienceMs = Number(/TimeoutStopSec=(\d+)/.exec(page)?.[1]) * 1_000;
    expect(patienceMs).toBeGreaterThanOrEqual(delayMs + graceMs + spreadMs + 10_000);
    expect(firstColumn('docs/operate/shutdown.md')).toEqual(['announcing', 'finishing', 'closing', 'drained']);
  });

  it('is right that all three ways to start a drain are the same', async () => {
    await using api = await tlsBackend('api.example.com');
    await using drained = await gatewayFolder([api]);
    await using one = await startGateway(`${drained.path}/meshgate.yaml`);
    await using client = await tlsClient(one.address, 'api.example.com');
    one.signal('SIGINT');
    await one.logged('drain started');
    // The outcome depends on how soon after the signal it is queried.
    expect(await one.query('/drain', { method: 'POST' })).toMatchObject({
      status: 202,
      json: { state: expect.stringMatching(/^(announcing|finishing)$/), remaining: 1 },
    });
    client.end();
    expect(await one.ended).toBe(0);
  });
});
