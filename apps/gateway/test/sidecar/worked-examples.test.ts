// The worked examples of docs/sidecar.md and docs/consul.md are run unchanged, except for their ports, which are
// replaced by free ones.
import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { needs, rawClient, tcpBackend } from '@meshgate/testkit';
import type { TestBackend } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { folder, meshgate, run, spawnMeshgate } from '../daemon.ts';
import type { Daemon, Folder, LogLine } from '../daemon.ts';
import { eventually } from '../federation/eventually.ts';
import { blocksIn, pageText, sectionsIn } from '../page.ts';
import { consulBinary, describeWithConsul, freePorts, startConsul } from './agent.ts';
import type { ConsulAgent } from './agent.ts';

const TRUST_DOMAIN = '11111111-2222-3333-4444-555555555555.consul';
const CONSUL_MS = 60_000;
const hasOpenssl = await run('openssl', ['version']).then(
  ({ status }) => status === 0,
  () => false,
);

describe('docs/sidecar.md', () => {
  needs('openssl', hasOpenssl || 'no openssl on PATH')('without Consul', () => {
    it('has a working example', async () => {
      await using example = await Example.of('docs/sidecar.md');
      const { files } = example;
      await promisify(execFile)('bash', ['-ec', example.block('sh', 'certificates')], { cwd: files.path });
      const web = example.block('yaml', 'web.yaml');
      await files.write('db.yaml', web.replaceAll('web', 'db').replace(/port: \d+/, 'port: 0'));
      await showsItsAccessLog(example, await example.start('files', (words) => inFolder(words, files)));
    });
  });

  describeWithConsul('with Consul', () => {
    it(
      'has a working example',
      async () => {
        await using consul = await startConsul();
        await using example = await Example.of('docs/sidecar.md');
        await registerBy(example, consul);
        await showsItsAccessLog(example, await example.start('consul', (words) => querying(consul, words)));
      },
      CONSUL_MS,
    );
  });
});

describeWithConsul('docs/consul.md', () => {
  it(
    'has a working example',
    async () => {
      await using consul = await startConsul();
      await using example = await Example.of('docs/consul.md');
      await registerBy(example, consul);
      const [, gateway] = await example.start('consul', (words) => querying(consul, [...words, ...freeAdmin(words)]));
      const { admin } = (await gateway?.logged('ready')) ?? {};
      const trustDomain = await trustDomainOf(consul);
      // The sidecar's check runs once a second.
      await eventually('a backend that is healthy', () => isHealthy(String(admin)), CONSUL_MS);
      const [, , name = ''] = example.block('sh', 'explain').split(/\s+/);
      const queried = ['explain', name.replace(TRUST_DOMAIN, trustDomain), '--admin', String(admin)];
      const { stdout } = await meshgate(queried);
      expect(cellsOf(stdout.replaceAll(trustDomain, TRUST_DOMAIN))).toEqual(cellsOf(example.block('text', 'explain')));
    },
    CONSUL_MS,
  );
});

/** The worked example of a page in a folder of its own, with free ports instead of the original ones. */
class Example implements AsyncDisposable {
  readonly files: Folder;
  readonly #section: string;
  readonly #application: TestBackend;
  readonly #daemons: Daemon[] = [];
  readonly #ports: ReadonlyMap<string, string>;

  private constructor(files: Folder, section: string, application: TestBackend, ports: ReadonlyMap<string, string>) {
    this.files = files;
    this.#section = section;
    this.#application = application;
    this.#ports = ports;
  }

  /** Writes all blocks that are files. */
  static async of(page: string): Promise<Example> {
    const written = sectionsIn(pageText(page)).find((part) => part.startsWith('## A worked example')) ?? '';
    const own = [...new Set(Array.from(written.matchAll(/\b(?:1\d{4}|2\d{4})\b/g), ([port]) => port))];
    const application = await tcpBackend('db');
    const free = await freePorts(own.length);
    const ports = new Map(own.map((port, index) => [port, String(free[index])]));
    ports.set(APPLICATION_PORT, String(application.address.port));
    const section = written.replaceAll(/\b(?:1\d{4}|2\d{4})\b/g, (port) => ports.get(port) ?? port);
    const files = await folder();
    for (const language of ['hcl', 'yaml'])
      for (const { label, text } of blocksIn(section, language)) {
        await mkdir(dirname(join(files.path, label)), { recursive: true });
        await files.write(label, text);
      }
    return new Example(files, section, application, ports);
  }

  /** The content of a block. */
  block(language: string, label: string): string {
    const found = blocksIn(this.#section, language).find((block) => block.label === label);
    if (found === undefined) throw new Error(`expected a block ${language} ${label}, found none`);
    return found.text;
  }

  /** The replacement for a port on the page. */
  port(onPage: string): number {
    return Number(this.#ports.get(onPage));
  }

  /** Starts the `meshgate` commands of a block, in order. */
  async start(label: string, amend: (words: readonly string[]) => readonly string[]): Promise<readonly Daemon[]> {
    const commands = this.block('sh', label).trim().split('\n');
    const own = commands.filter((line) => line.startsWith('meshgate ')).map((line) => line.split(' ').slice(1));
    for (const words of own) this.#daemons.push(spawnMeshgate(amend(words)));
    await Promise.all(this.#daemons.map((daemon) => daemon.line(({ msg }) => String(msg).startsWith('listening'))));
    return this.#daemons;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const daemon of this.#daemons) await daemon[Symbol.asyncDispose]();
    await this.#application[Symbol.asyncDispose]();
    await this.files[Symbol.asyncDispose]();
  }
}

const APPLICATION_PORT = '15432';

/** Passes the definitions to Consul as the page says. */
async function registerBy(example: Example, { address }: ConsulAgent): Promise<void> {
  const line =
    example
      .block('sh', 'consul')
      .split('\n')
      .find((one) => one.startsWith('consul services register ')) ?? '';
  const [, , , ...names] = line.split(' ');
  const args = ['services', 'register', `-http-addr=${address}`, ...names];
  await promisify(execFile)(consulBinary, args, { cwd: example.files.path });
}

function querying({ address }: ConsulAgent, words: readonly string[]): readonly string[] {
  return [...words, '--http-addr', address];
}

function inFolder(words: readonly string[], { path }: Folder): readonly string[] {
  return words.map((word) => (word.endsWith('.yaml') ? join(path, word) : word));
}

/** Where the page uses the default port, which may be in use here. */
function freeAdmin(words: readonly string[]): readonly string[] {
  return words.includes('--admin-bind') ? [] : ['--admin-bind', '127.0.0.1:0'];
}

/** A request of `web` reaches the application of `db`, and both sidecars print what the page shows. */
async function showsItsAccessLog(example: Example, [db, web]: readonly Daemon[]): Promise<void> {
  await web?.line(({ msg, listener }) => listener === 'upstream:db' && String(msg).startsWith('listening'));
  await using client = await rawClient({ host: '127.0.0.1', port: example.port('10000') });
  await client.send('hello\n');
  expect((await client.receive(6)).toString()).toBe('hello\n');
  client.end();
  const shown = example
    .block('jsonl', 'access')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as LogLine);
  const isAccess = (line: LogLine): boolean => 'durationMs' in line && 'route' in line;
  const traces: unknown[] = [];
  for (const [index, daemon] of [web, db].entries()) {
    const line = (await daemon?.line(isAccess)) ?? {};
    expect(Object.keys(line)).toEqual(Object.keys(shown[index] ?? {}));
    expect(settled(line)).toEqual(settled(shown[index] ?? {}));
    traces.push(line['trace']);
  }
  // One terminates the TLS that the other originates.
  expect(traces[0]).toMatch(/^[0-9a-f]{13}$/);
  expect(traces[1]).toBe(traces[0]);
}

/** The constant parts: without times, trace ids, client ports, and with any trust domain. */
function settled(line: LogLine): object {
  const fields = Object.entries(line).filter(([key]) => !/^time$|^id$|^remote$|^trace$|Ms$/.test(key));
  return JSON.parse(
    JSON.stringify(Object.fromEntries(fields)).replaceAll(/[-0-9a-f]{36}\.consul/g, TRUST_DOMAIN),
  ) as object;
}

async function isHealthy(admin: string): Promise<true | undefined> {
  const routes = await (await fetch(new URL('/routes', admin))).text();
  return routes.includes('"healthy":true') ? true : undefined;
}

async function trustDomainOf(consul: ConsulAgent): Promise<string> {
  const { TrustDomain } = (await consul.send('GET', 'agent/connect/ca/roots')) as { readonly TrustDomain: string };
  return TrustDomain;
}

/** Columns of a line: their widths depend on the ports. */
function cellsOf(text: string): readonly string[] {
  return text
    .trim()
    .split(/\n| {2,}/)
    .map((cell) => cell.trim())
    .filter(Boolean);
}
