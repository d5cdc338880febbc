// Parts of plugins that throw, reject, hang or return nonsense, in the real processes: each only harms the connection
// that it is called for, the worker continues, and the drain completes.
import { formatEndpoint } from '@meshgate/core';
import { clientHello, inRecords, rawClient, tlsBackend, tlsClient } from '@meshgate/testkit';
import type { TlsClient } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { folder, startGateway, TEST_CONFIG } from './daemon.ts';
import type { Folder, LogLine, ReadyDaemon } from './daemon.ts';

/** One kind of part; how it fails is the first label of the server name. */
interface Part {
  readonly part: string;
  /** What a plugin installs. */
  readonly install: string;
  /** The close code of each failure; `OK` if the connection is not affected. */
  readonly ends: Readonly<Record<string, string>>;
  /** What the reason of `INTERNAL` names. */
  readonly named: string;
  /** Clients of a protocol that only the plugin recognises. */
  readonly plain?: true;
}

const PARTS: readonly Part[] = [
  {
    part: 'a connector layer',
    // One that hangs is not known by its plugin.
    named: 'connector',
    install: `host.wrapConnector((inner) => ({ connect(route, context) {
      const reached = () => inner.connect(route, context);
      switch (how(context.hello.serverName)) {
        case 'throws': throw new Error('broke');
        case 'throws-nothing': throw undefined;
        case 'throws-what-has-no-text': throw Object.create(null);
        case 'rejects': return Promise.reject(new Error('broke'));
        case 'rejects-late': return reached().then(() => { throw new Error('broke'); });
        case 'hangs': return new Promise(() => {});
        case 'hangs-late': return reached().then(() => new Promise(() => {}));
        case 'gives-nothing': return Promise.resolve();
        case 'gives-text': return 'an upstream';
        case 'forgets-to-return': return void reached();
        case 'dials-without-options': return context.dial(route.backends[0], route.backends[0].address).done;
        default: return reached();
      }
    } }));`,
    ends: {
      throws: 'INTERNAL',
      'throws-nothing': 'INTERNAL',
      'throws-what-has-no-text': 'INTERNAL',
      rejects: 'INTERNAL',
      'rejects-late': 'INTERNAL',
      hangs: 'INTERNAL',
      'hangs-late': 'INTERNAL',
      'gives-nothing': 'INTERNAL',
      'gives-text': 'INTERNAL',
      'forgets-to-return': 'INTERNAL',
      'dials-without-options': 'INTERNAL',
    },
  },
  {
    part: 'a resolver',
    named: 'resolver of the plugin "hostile"',
    install: `host.addResolver({ resolve(hello) {
      switch (how(hello.serverName)) {
        case 'throws': throw new Error('broke');
        case 'throws-nothing': throw undefined;
        case 'throws-what-has-no-text': throw Object.create(null);
        case 'rejects': return Promise.reject(new Error('broke'));
        case 'hangs': return new Promise(() => {});
        case 'gives-null': return null;
        case 'gives-text': return 'api';
        case 'gives-an-empty-route': return {};
        case 'gives-malformed-access': return { name: 'x', serverNames: [], backends: [], access: 'deny all' };
        case 'gives-a-port-that-is-none': return {
          name: 'x', serverNames: [], backends: [{ address: { host: '127.0.0.1', port: NaN }, weight: 1, healthy: true }],
        };
      }
    } });`,
    ends: {
      throws: 'INTERNAL',
      'throws-nothing': 'INTERNAL',
      'throws-what-has-no-text': 'INTERNAL',
      rejects: 'INTERNAL',
      hangs: 'INTERNAL',
      'gives-null': 'INTERNAL',
      'gives-text': 'INTERNAL',
      'gives-an-empty-route': 'INTERNAL',
      'gives-malformed-access': 'INTERNAL',
      'gives-a-port-that-is-none': 'INTERNAL',
    },
  },
  {
    part: 'a filter',
    named: 'filter hostile',
    install: `host.addFilter({ name: 'hostile', async filter(client) {
      let name;
      for (let atLeast = 1; name === undefined;) {
        const bytes = await client.peek(atLeast);
        name = /[a-z-]+\\.example\\.com/.exec(Buffer.from(bytes).toString('latin1'))?.[0];
        atLeast = bytes.length + 1;
      }
      switch (how(name)) {
        case 'throws': throw new Error('broke');
        case 'throws-nothing': throw undefined;
        case 'throws-what-has-no-text': throw Object.create(null);
        case 'hangs': return new Promise(() => {});
        case 'gives-text': return 'fine';
        case 'gives-a-hello-that-is-none': return { kind: 'hello' };
        case 'consumes-too-much': return client.consume(100_000);
      }
    } });`,
    ends: {
      throws: 'INTERNAL',
      'throws-nothing': 'INTERNAL',
      'throws-what-has-no-text': 'INTERNAL',
      hangs: 'SNIFF_TIMEOUT',
      'gives-text': 'INTERNAL',
      'gives-a-hello-that-is-none': 'INTERNAL',
      'consumes-too-much': 'INTERNAL',
    },
  },
  {
    part: 'a sniffer',
    named: 'sniffer hostile',
    plain: true,
    install: `host.addSniffer({ name: 'hostile', inspect(head) {
      switch (how(Buffer.from(head).toString('latin1'))) {
        case 'throws': throw new Error('broke');
        case 'rejects': return Promise.reject(new Error('broke'));
        case 'hangs': return new Promise(() => {});
        case 'always-wants-more': return { kind: 'more' };
        case 'gives-null': return null;
        case 'gives-a-name-that-is-none': return { kind: 'hello', hello: { protocol: 'x', serverName: 5 } };
        default: return { kind: 'pass' };
      }
    } });`,
    ends: {
      throws: 'INTERNAL',
      rejects: 'INTERNAL',
      hangs: 'INTERNAL',
      'always-wants-more': 'SNIFF_TIMEOUT',
      'gives-null': 'INTERNAL',
      'gives-a-name-that-is-none': 'INTERNAL',
    },
  },
  {
    part: 'an observer',
    named: 'observer',
    install: `host.addObserver({ name: 'hostile', observe(event) {
      switch (how((event.hello ?? event.closed?.hello)?.serverName)) {
        case 'throws': throw new Error('broke');
        case 'throws-nothing': throw undefined;
        case 'throws-what-has-no-text': throw Object.create(null);
        case 'rejects': return Promise.reject(new Error('broke'));
        case 'hangs': return new Promise(() => {});
        case 'gives-text': return 'fine';
        case 'forgets-a-rejection': return void Promise.reject(Object.create(null));
      }
    } });`,
    ends: {
      throws: 'OK',
      'throws-nothing': 'OK',
      'throws-what-has-no-text': 'OK',
      rejects: 'OK',
      hangs: 'OK',
      'gives-text': 'OK',
      'forgets-a-rejection': 'OK',
    },
  },
];

const GOOD = 'good.example.com';

function plugin(install: string): string {
  return `const how = (name) => name?.split('.')[0];
export default { name: 'hostile', install(host) { ${install} } };`;
}

/** A gateway with the plugin, with one route for all names. */
async function folderOf(to: { readonly port: number }, install: string, settings: object): Promise<Folder> {
  const backends = [{ address: '127.0.0.1', port: to.port }];
  return folder({
    'routes.yaml': { routes: [{ name: 'all', serverNames: ['*'], backends }] },
    'hostile.mjs': plugin(install),
    'meshgate.yaml': {
      ...TEST_CONFIG,
      transport: 'node',
      limits: { helloTimeout: '2s', connectTimeout: '1s' },
      plugins: ['./hostile.mjs'],
      ...settings,
    },
  });
}

/** Requests a name that fails in this way, until the connection has ended. Resolves with its access log line. */
async function failed(gateway: ReadyDaemon, { plain, ends }: Part, how: string): Promise<LogLine> {
  const name = `${how}.example.com`;
  const isHarmless = ends[how] === 'OK';
  await using client = await (isHarmless ? tlsClient(gateway.address, name) : rawClient(gateway.address));
  const remote = formatEndpoint(client.local);
  await client.send(isHarmless || plain === true ? name : inRecords(clientHello({ serverName: name })));
  if (isHarmless) client.end();
  await client.closed;
  return await gateway.line((line) => isAccess(line) && line['remote'] === remote);
}

const isAccess = (line: LogLine): boolean => 'durationMs' in line;

/** The worker of a connection; with one process it is always the same. */
const workerOf = (line: LogLine): string => /^(\d+)-/.exec(String(line['id']))?.[1] ?? 'single';

/** Connections without a failure, opened one after the other until each of `workers` has one. */
async function goodOnEach(gateway: ReadyDaemon, workers: ReadonlySet<string>): Promise<readonly TlsClient[]> {
  const clients: TlsClient[] = [];
  for (const without = new Set(workers); without.size > 0;) {
    const client = await tlsClient(gateway.address, GOOD);
    expect(await client.echo('carried')).toBe('carried');
    clients.push(client);
    const { connections } = (await gateway.query('/connections')).json as { readonly connections: readonly LogLine[] };
    // None of the failed ones is left.
    expect(new Set(connections.map(({ serverName }) => serverName))).toEqual(new Set([GOOD]));
    for (const one of connections) without.delete(workerOf(one));
  }
  return clients;
}

const WORKERS = [1, 2];

describe.each(WORKERS)('with workers: %d,', (workers) => {
  it.each(PARTS)('$part that fails affects only that connection, and the drain is clean', async (one) => {
    await using backend = await tlsBackend(GOOD);
    const listeners = [{ ...TEST_CONFIG.listeners[0], ...(one.part === 'a filter' && { filters: ['hostile'] }) }];
    await using files = await folderOf(backend.address, one.install, { workers, listeners });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const lines = await Promise.all(
      Object.entries(one.ends).map(async ([how, code]) => {
        const line = await failed(gateway, one, how);
        expect({ how, code: line['code'] ?? 'OK' }).toEqual({ how, code });
        if (code === 'INTERNAL') expect(line['reason']).toContain(one.named);
        return line;
      }),
    );
    const clients = await goodOnEach(gateway, new Set(lines.map(workerOf)));
    gateway.signal('SIGTERM');
    await gateway.logged('listener closed');
    for (const client of clients) {
      expect(await client.echo('not cut')).toBe('not cut');
      client.end();
    }
    expect(await gateway.ended).toBe(0);
    expect(await gateway.logged('drain finished')).toMatchObject({ finished: clients.length, cut: 0 });
    expect(gateway.lines.filter(({ level }) => level === 'fatal')).toEqual([]);
  });

  it('drain hooks that throw, reject, hang or return nonsense are named, and every connection finishes', async () => {
    await using backend = await tlsBackend(GOOD);
    // Shorter than the hooks may take, whose time does not shorten the grace of connections.
    const drain = { grace: '2s', spread: '100ms' };
    await using files = await folderOf(backend.address, DRAIN_HOOKS, { workers, drain });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using client = await tlsClient(gateway.address, GOOD);
    gateway.signal('SIGTERM');
    await gateway.logged('listener closed');
    expect(await client.echo('not cut')).toBe('not cut');
    client.end();
    expect(await gateway.ended).toBe(0);
    expect(await gateway.logged('drain finished')).toMatchObject({ finished: 1, cut: 0 });
    const reported = gateway.lines.filter(({ msg }) => String(msg).startsWith('service failed'));
    expect(new Set(reported.map(({ service }) => service))).toEqual(
      new Set(['throws', 'rejects', 'hangs'].flatMap((how) => [`${how} in carrier`, `${how} in primary`])),
    );
  }, 60_000);

  it.each(['throws', 'rejects'])(
    'a service whose stop %s keeps no other from stopping; the status is 1',
    async (how) => {
      await using files = await folderOf({ port: 1 }, stopHooks(how), { workers });
      await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
      gateway.signal('SIGTERM');
      expect(await gateway.ended).toBe(1);
      // For a service in the processes that carry connections, each worker reports it, and so does its process.
      const logged = gateway.lines.map(({ msg }) => String(msg));
      expect(logged.find((msg) => msg.startsWith('shutdown incomplete'))).toContain('broke');
      expect(logged).toContain('the other has stopped');
    },
  );
});

const DRAIN_HOOKS = `
const hooks = {
  throws() { throw new Error('broke'); },
  async rejects() { throw new Error('broke'); },
  hangs: () => new Promise(() => {}),
  'gives text': () => 'fine',
};
for (const where of ['carrier', 'primary'])
  for (const [name, drain] of Object.entries(hooks))
    host.addService({ name: name + ' in ' + where, drain, async start() {}, async stop() {} }, { in: where });`;

/** Stopped in reverse order: the failing one first. */
function stopHooks(how: string): string {
  const stop = how === 'throws' ? '() => { throw new Error("broke"); }' : 'async () => { throw new Error("broke"); }';
  return `
host.addService({ name: 'other', async start() {}, async stop() { host.log.info('the other has stopped'); } });
host.addService({ name: 'hostile', async start() {}, stop: ${stop} });`;
}
