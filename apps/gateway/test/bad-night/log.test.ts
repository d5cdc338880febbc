// Whatever happens to the log, traffic continues: the real command with an output that fails, in every way in which
// outputs fail.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, existsSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { needs, tlsBackend, tlsClient } from '@meshgate/testkit';
import type { TlsClient, TlsTestBackend } from '@meshgate/testkit';
import { describe, expect, it, onTestFinished } from 'vitest';
import { freePorts } from '../sidecar/agent.ts';
import { gatewayFolder, MAIN, spawnWithOutput } from '../daemon.ts';
import type { Folder } from '../daemon.ts';
import { Recording } from './alerts.ts';
import { CAUSES } from './causes.ts';

/** A gateway whose output is not read here; it is queried over its ports. */
interface MuteGateway extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  /** A long-lived client. */
  open(): Promise<TlsClient>;
  /** A request of one client through the gateway. */
  serve(): Promise<string>;
  ready(): Promise<{ readonly ready: boolean; readonly warnings: readonly string[] }>;
  /** Resolves when the alert for lost log lines fires. */
  firesLogLost(): Promise<void>;
}

/** Starts it with `settings` and a route to `api`, and waits until it is ready. */
async function startMute(
  api: TlsTestBackend,
  settings: object,
  output: number | 'pipe' | ((command: readonly string[]) => ChildProcess),
): Promise<MuteGateway & { readonly files: Folder }> {
  const [port = 0, admin = 0] = await freePorts(2);
  const files = await gatewayFolder([api], {
    listeners: [{ name: 'main', address: '127.0.0.1', port }],
    admin: { port: admin },
    ...settings,
  });
  const args = ['gateway', '--config', join(files.path, 'meshgate.yaml')];
  const child =
    typeof output === 'function' ? output([process.execPath, MAIN, ...args]) : spawnWithOutput(args, output);
  const ended = once(child, 'exit').then(([status]: (number | null)[]) => status ?? null);
  const get = (path: string): Promise<Response> => fetch(`http://127.0.0.1:${admin}${path}`);
  const gateway: MuteGateway & { readonly files: Folder } = {
    files,
    child,
    ended,
    open: () => tlsClient({ host: '127.0.0.1', port }, 'api.example.com'),
    async serve() {
      await using client = await gateway.open();
      return await client.echo('hello');
    },
    ready: async () => (await get('/ready')).json() as ReturnType<MuteGateway['ready']>,
    async firesLogLost() {
      const recording = new Recording();
      while (!recording.fires('MeshgateLogLost')) {
        recording.add(await (await get('/metrics')).text());
        await gateway.serve();
      }
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await ended;
      await files[Symbol.asyncDispose]();
    },
  };
  await until(async () => (await get('/ready').catch(() => undefined))?.status === 200);
  return gateway;
}

/** Polls until `holds`: from outside there is no event for what a process does by itself. */
async function until(holds: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await holds())) await nextTurn();
}

async function warned(gateway: MuteGateway, warning: string): Promise<void> {
  await until(async () => (await gateway.ready()).warnings.some((one) => one.includes(warning)));
}

async function isQuiet(gateway: MuteGateway): Promise<boolean> {
  return (await gateway.ready()).warnings.length === 0;
}

/** The current content of the pipe. */
function contents(fd: number): string {
  const buffer = Buffer.alloc(1024 * 1024);
  try {
    return buffer.subarray(0, readSync(fd, buffer)).toString();
  } catch {
    return '';
  }
}

async function fifoIn(files: Folder): Promise<string> {
  const path = join(files.path, 'log');
  execFileSync('mkfifo', [path]);
  return Promise.resolve(path);
}

/** Fills a FIFO to its last page, as a stalled reader does. */
function fill(fd: number): void {
  // Lines of one page each: the capacity of a pipe is counted in pages.
  const page = `${'-'.repeat(4_094)}\n`;
  try {
    for (;;) writeFileSync(fd, page);
  } catch {
    // The pipe is full.
  }
}

const MODES = [
  { log: { format: 'json' } },
  { log: { format: 'pretty' } },
  { log: { format: 'json' }, workers: 2 },
] as const;

describe.runIf(process.platform === 'linux')('a gateway whose log cannot be written', () => {
  describe.each(MODES)('with %j', (settings) => {
    it(`serves, warns and stops when ${CAUSES.logFull.cause}`, async () => {
      await using api = await tlsBackend('api.example.com');
      const full = openSync('/dev/full', 'w');
      onTestFinished(() => closeSync(full));
      await using gateway = await startMute(api, settings, full);
      const established = await gateway.open();
      expect(await gateway.serve()).toBe('hello');
      await warned(gateway, 'log lines cannot be written: ENOSPC: no space left on device');
      expect(await established.echo('still here')).toBe('still here');
      established.end();
      await gateway.firesLogLost();
      expect(await gateway.serve()).toBe('hello');
      gateway.child.kill('SIGTERM');
      expect(await gateway.ended).toBe(0);
    });

    it('serves and stops when the reader of its log has closed', async () => {
      await using api = await tlsBackend('api.example.com');
      await using gateway = await startMute(api, settings, 'pipe');
      gateway.child.stdout?.destroy();
      expect(await gateway.serve()).toBe('hello');
      await warned(gateway, 'log lines cannot be written: EPIPE: broken pipe');
      expect(await gateway.serve()).toBe('hello');
      gateway.child.kill('SIGTERM');
      expect(await gateway.ended).toBe(0);
    });

    it('serves and stops when the reader of a socket has stalled', async () => {
      await using api = await tlsBackend('api.example.com');
      await using gateway = await startMute(api, { ...settings, log: { ...settings.log, level: 'trace' } }, 'pipe');
      gateway.child.stdout?.pause();
      while (await isQuiet(gateway)) for (let count = 0; count < 50; count += 1) await gateway.serve();
      await warned(gateway, 'the reader is too slow');
      gateway.child.kill('SIGTERM');
      expect(await gateway.ended).toBe(0);
    });

    it(`serves while ${CAUSES.logReaderStalls.cause}, and writes to the next one`, async () => {
      await using api = await tlsBackend('api.example.com');
      await using home = await gatewayFolder([]);
      const path = await fifoIn(home);
      const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      const writer = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
      fill(writer);
      const output = openSync(path, constants.O_WRONLY);
      await using gateway = await startMute(api, settings, output);
      closeSync(output);
      closeSync(writer);
      expect(await gateway.serve()).toBe('hello');
      await warned(gateway, 'the reader is too slow');
      closeSync(reader);
      await warned(gateway, 'EPIPE');
      const next = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      onTestFinished(() => closeSync(next));
      let text = '';
      await until(() => (text += contents(next)).includes('api.example.com'));
      await until(() => isQuiet(gateway));
      gateway.child.kill('SIGTERM');
      expect(await gateway.ended).toBe(0);
    });

    it('stops while the reader of a FIFO has stalled', async () => {
      await using api = await tlsBackend('api.example.com');
      await using home = await gatewayFolder([]);
      const path = await fifoIn(home);
      const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      onTestFinished(() => closeSync(reader));
      const writer = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
      fill(writer);
      const output = openSync(path, constants.O_WRONLY);
      await using gateway = await startMute(api, settings, output);
      closeSync(output);
      closeSync(writer);
      expect(await gateway.serve()).toBe('hello');
      gateway.child.kill('SIGTERM');
      expect(await gateway.ended).toBe(0);
    });
  });
});

const hasScript = spawnSync('script', ['--version']).status === 0;

describe.skipIf(!hasScript)('a gateway whose terminal has hung up', () => {
  it.each(MODES)('serves, warns and stops: %j', async (settings) => {
    await using api = await tlsBackend('api.example.com');
    await using home = await gatewayFolder([]);
    const [pid, status] = [join(home.path, 'pid'), join(home.path, 'status')];
    const terminal = (command: readonly string[]): ChildProcess => {
      const gateway = command.map((part) => `'${part}'`).join(' ');
      const shell = `trap '' HUP; ${gateway} & echo $! > ${pid}; wait $!; echo $? > ${status}.new; mv ${status}.new ${status}`;
      return spawn('script', ['-qefc', shell, '/dev/null'], { stdio: ['ignore', 'ignore', 'inherit'] });
    };
    await using gateway = await startMute(api, settings, terminal);
    expect(await gateway.serve()).toBe('hello');
    gateway.child.kill('SIGKILL');
    await gateway.ended;
    const daemon = Number(readFileSync(pid, 'utf8'));
    let hasEnded = false;
    onTestFinished(() => void (hasEnded || process.kill(daemon, 'SIGKILL')));
    await gateway.serve();
    await warned(gateway, 'log lines cannot be written: EIO');
    expect(await gateway.serve()).toBe('hello');
    process.kill(daemon, 'SIGTERM');
    await until(() => existsSync(status));
    hasEnded = true;
    expect(readFileSync(status, 'utf8')).toBe('0\n');
  });
});

describe.runIf(process.platform === 'linux')('a gateway with an uncaught exception while its log is full', () => {
  it('drains and exits', async () => {
    await using api = await tlsBackend('api.example.com');
    const full = openSync('/dev/full', 'w');
    onTestFinished(() => closeSync(full));

    await using home = await gatewayFolder([]);
    const plugin = await home.write('thrower.mjs', THROWS_AT_USR2);

    await using gateway = await startMute(api, { plugins: [plugin] }, full);
    expect(await gateway.serve()).toBe('hello');
    gateway.child.kill('SIGUSR2');
    expect(await gateway.ended).toBe(1);
  });
});

const THROWS_AT_USR2 = `
export default { name: 'thrower', install: (host) => host.addService({
  name: 'thrower',
  start: () => { process.on('SIGUSR2', () => { throw new Error('thrown'); }); return Promise.resolve(); },
  stop: () => Promise.resolve(),
}) };`;

needs('netns', mountable())('a gateway whose log is on a small disk', () => {
  it.each(MODES)(
    'loses lines while it is full, reports how many once there is room, and continues: %j',
    async (settings) => {
      await using api = await tlsBackend('api.example.com');
      await using home = await gatewayFolder([]);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', home.path]);
      try {
        const path = join(home.path, 'log');
        writeFileSync(join(home.path, 'ballast'), Buffer.alloc(40 * 1024));
        const output = openSync(path, 'a');
        await using gateway = await startMute(api, settings, output);
        closeSync(output);
        while (await isQuiet(gateway)) await gateway.serve();
        await warned(gateway, 'ENOSPC');
        expect(await gateway.serve()).toBe('hello');
        execFileSync('rm', [join(home.path, 'ballast')]);
        await until(() => isQuiet(gateway));
        const size = readFileSync(path).length;
        expect(await gateway.serve()).toBe('hello');
        await until(() => readFileSync(path).length > size);
        gateway.child.kill('SIGTERM');
        expect(await gateway.ended).toBe(0);
      } finally {
        execFileSync('umount', [home.path]);
      }
    },
  );
});

/** Whether this process may mount a file system: `true`, or why not. */
function mountable(): true | string {
  if (process.platform !== 'linux') return 'tmpfs is of Linux';
  return process.getuid?.() === 0 || 'mounting takes root';
}
