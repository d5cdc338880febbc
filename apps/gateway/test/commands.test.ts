import { spawn, spawnSync } from 'node:child_process';
import { EventEmitter, once } from 'node:events'; // oxlint-disable-line no-restricted-imports -- it stands for a terminal
import { tlsBackend, tlsClient } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import type { StatusView } from '../src/admin/status.ts';
import { commandLine, runCommand } from '../src/cli/cli.ts';
import type { ExitStatus, Terminal } from '../src/cli/terminal.ts';
import { completionScript } from '../src/cli/completion.ts';
import { COMMAND_HELP } from '../src/cli/help-text.ts';
import { afterKey, TopModel, topRoutes, topScreen } from '../src/cli/top-screen.ts';
import type { TopView } from '../src/cli/top-screen.ts';
import { statusText } from '../src/cli/status-text.ts';
import { gatewayFolder, startGateway } from './daemon.ts';
import { pageText, ROOT } from './page.ts';

const SIGNALS = {
  onStop: () => undefined,
  onReload: () => undefined,
  onUpgrade: () => undefined,
  onStray: () => undefined,
};

interface Ran {
  readonly status: ExitStatus;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command in this process, with `terminal` overriding an output that is not a terminal. */
async function command(args: readonly string[], terminal: object = {}): Promise<Ran> {
  const written = { stdout: '', stderr: '' };
  const output = (name: keyof typeof written): Terminal['stdout'] => ({
    fd: 1,
    write: (text) => (written[name] += text),
    ...terminal,
  });
  const env = {};
  const status = await runCommand(args, {
    stdout: output('stdout'),
    stderr: output('stderr'),
    signals: SIGNALS,
    env,
  });
  return { status, ...written };
}

describe('commands for a running gateway', () => {
  it('print its status, traffic and log level, set the level, and drain it', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([api]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const at = ['--admin', gateway.admin];
    await using client = await tlsClient(gateway.address, 'api.example.com');
    await client.echo('hello');

    const status = await command(['status', ...at]);
    expect(status).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^gateway \S+: ready, up \d+ s \(meshgate /),
    });
    expect(status.stdout).toContain('listener main: 127.0.0.1:');
    const json = JSON.parse((await command(['status', '--json', ...at])).stdout) as StatusView;
    expect(json).toMatchObject({ ready: true, role: 'gateway' });

    // As on a serial console.
    const unsized = { isTTY: true, columns: 0, rows: 0 };
    const [top, topJson, onUnsized] = await Promise.all([
      command(['top', ...at]),
      command(['top', '--json', ...at]),
      command(['top', '--once', ...at], unsized),
    ]);
    expect(onUnsized.stdout).toContain('ERRORS SINCE START');
    expect((await command(['connections', ...at], unsized)).stdout).toContain('api.example.com');
    expect(top.stdout).toMatch(/1 live .*\n(?:.*\n)*ROUTE +LIVE .*\napi +1 /);
    expect(JSON.parse(topJson.stdout)).toMatchObject({
      status: { ready: true },
      routes: [{ route: 'api', active: 1 }],
    });

    expect((await command(['log-level', ...at])).stdout).toBe('info\n');
    expect(JSON.parse((await command(['log-level', 'debug', '--json', ...at])).stdout)).toEqual({ level: 'debug' });
    expect((await command(['log-level', 'loud', ...at])).status).toBe(2);

    const drained = command(['drain', ...at]);
    await gateway.logged('drain started');
    const draining = await command(['status', ...at]);
    expect([draining.status, draining.stdout]).toEqual([1, expect.stringMatching(/draining \(.*not ready: draining/s)]);
    client.end();
    expect(await drained).toMatchObject({ status: 0, stdout: expect.stringContaining('connections left') });
    expect(await gateway.ended).toBe(0);
    expect(await command(['status', ...at])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('no gateway at'),
    });
  });
});

describe('meshgate drain', () => {
  it('exits with 1 when connections were cut, even if the process exits at the same moment', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([api], { drain: { grace: '0s', spread: '0s' } });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using client = await tlsClient(gateway.address, 'api.example.com');
    await client.echo('hello');
    expect(await command(['drain', '--admin', gateway.admin])).toMatchObject({
      status: 1,
      stderr: '',
      stdout: expect.stringMatching(/drained: 0 connections left, 0 finished, 1 cut\n$/),
    });
    expect(await gateway.ended).toBe(1);
  });

  it('exits with 1 when the gateway exits before the outcome of the drain is known', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([api]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using client = await tlsClient(gateway.address, 'api.example.com');
    await client.echo('hello');
    const drained = command(['drain', '--admin', gateway.admin], { isTTY: true });
    await gateway.logged('drain started');
    gateway.signal('SIGKILL');
    expect(await drained).toMatchObject({
      status: 1,
      stdout: expect.stringMatching(/^waiting for the drain; Ctrl-C ends this command, not the drain\n/),
      stderr: expect.stringMatching(/the gateway exited before it reported the end of its drain|socket hang up/),
    });
  });
});

describe('a command with a token file', () => {
  it.each([
    ['cannot be read', 'nowhere', /^meshgate: token file .*nowhere cannot be read: ENOENT/],
    ['has no token', 'empty', /^meshgate: expected a token in .*empty, found none\n$/],
    ['is of another kind', 'text', /^meshgate: expected one token in .*text, found other text\n$/],
  ])('that %s exits with 1 and names it', async (_what, name, message) => {
    await using files = await gatewayFolder([]);
    await files.write('empty', '\n');
    await files.write('text', 'two words');
    const args = ['drain', '--admin', 'http://127.0.0.1:1', '--token-file', `${files.path}/${name}`];
    expect(await command(args)).toEqual({ status: 1, stdout: '', stderr: expect.stringMatching(message) });
  });
});

class Keyboard extends EventEmitter {
  readonly isTTY = true;
  readonly modes: boolean[] = [];
  setRawMode(raw: boolean): void {
    this.modes.push(raw);
  }
  setEncoding(): void {}
  pause(): void {}
  resume(): void {}
}

describe('an admin address that is nearly right', () => {
  it.each([
    ['127.0.0.1:19000', 'http://127.0.0.1:19000'],
    ['localhost:19000', 'http://localhost:19000'],
    ['[::1]:19000', 'http://[::1]:19000'],
    ['/run/meshgate/admin.sock', 'unix:/run/meshgate/admin.sock'],
  ])('is met with the one that was meant: %s', async (text, suggestion) => {
    const { status, stderr } = await command(['status', '--admin', text]);
    expect([status, stderr]).toEqual([2, expect.stringContaining(`found "${text}": did you mean ${suggestion}?`)]);
  });
});

describe('meshgate top on a terminal', () => {
  it('is live, sorts and filters by keys, and restores the terminal', async () => {
    await using files = await gatewayFolder([]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const stdin = new Keyboard();
    let screen = '';
    const stdout = { fd: 1, isTTY: true, columns: 100, rows: 20, write: (text: string) => (screen += text) };
    const running = runCommand(['top', '--admin', gateway.admin], {
      stdout,
      stderr: stdout,
      stdin,
      signals: SIGNALS,
      env: { NO_COLOR: '1' },
    });
    await expect.poll(() => screen).toContain('ready');
    stdin.emit('data', 'n/ap');
    expect(screen).toContain('filter: ap_');
    stdin.emit('data', '\u001Bq');
    expect(await running).toBe(0);
    expect(stdin.modes).toEqual([true, false]);
    expect(screen.startsWith('\u001B[?1049h')).toBe(true);
    expect(screen.endsWith('\u001B[?1049l')).toBe(true);
    // NO_COLOR: no attribute of ECMA-48 is set.
    // oxlint-disable-next-line no-control-regex -- it is what is looked for
    expect(screen).not.toMatch(/\u001B\[\d+m/);
  });
});

/** The shell of a test, and the signals that it sends. */
class Shell {
  readonly #listeners: { end: (() => void)[]; redraw: (() => void)[] } = { end: [], redraw: [] };
  suspended = 0;

  onEnd(listener: () => void): void {
    this.#listeners.end.push(listener);
  }

  onRedraw(listener: () => void): void {
    this.#listeners.redraw.push(listener);
  }

  suspend(): void {
    this.suspended += 1;
  }

  send(what: 'end' | 'redraw'): void {
    for (const listener of this.#listeners[what]) listener();
  }
}

describe('meshgate top as a job of a shell', () => {
  const onTerminal = (
    over: object = {},
  ): { terminal: Terminal; stdin: Keyboard; job: Shell; written: () => string } => {
    const [stdin, job] = [new Keyboard(), new Shell()];
    let screen = '';
    const stdout = { fd: 1, isTTY: true, columns: 100, rows: 20, write: (text: string) => (screen += text) };
    const terminal = { stdout, stderr: stdout, stdin, job, signals: SIGNALS, env: {}, ...over };
    return { terminal, stdin, job, written: () => screen };
  };

  it('restores the terminal at once when it is to end, and when the terminal is gone', async () => {
    await using files = await gatewayFolder([]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    for (const end of ['signal', 'end', 'error'] as const) {
      const { terminal, stdin, job, written } = onTerminal();
      const running = runCommand(['top', '--admin', gateway.admin], terminal);
      await expect.poll(written).toContain('ready');
      if (end === 'signal') job.send('end');
      else stdin.emit(end, new Error('EIO'));
      expect(written().endsWith('\u001B[?7h\u001B[?25h\u001B[?1049l')).toBe(true);
      expect(await running).toBe(0);
      expect(stdin.modes).toEqual([true, false]);
      // As at process exit: nothing is restored twice.
      const before = written();
      job.send('end');
      job.send('redraw');
      expect(written()).toBe(before);
    }
  });

  it('leaves the screen at Ctrl-Z, and has it again when it continues', async () => {
    await using files = await gatewayFolder([]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const { terminal, stdin, job, written } = onTerminal();
    const running = runCommand(['top', '--admin', gateway.admin], terminal);
    await expect.poll(written).toContain('ready');
    stdin.emit('data', '\u001A');
    expect(job.suspended).toBe(1);
    expect(stdin.modes).toEqual([true, false, true]);
    expect(written().split('\u001B[?1049h')).toHaveLength(3);
    job.send('redraw');
    expect(stdin.modes).toEqual([true, false, true, false, true]);
    stdin.emit('data', 'q');
    expect(await running).toBe(0);
    expect(written().endsWith('\u001B[?1049l')).toBe(true);
  });

  it('prints one snapshot where the cursor cannot be moved: TERM=dumb', async () => {
    await using files = await gatewayFolder([]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const { terminal, written } = onTerminal({ env: { TERM: 'dumb' } });
    expect(await runCommand(['top', '--admin', gateway.admin], terminal)).toBe(0);
    expect(written()).toContain('ROUTE');
    // oxlint-disable-next-line no-control-regex -- it is what is looked for
    expect(written()).not.toMatch(/\u001B/);
  });
});

const hasScript = spawnSync('script', ['--version']).status === 0;

describe.skipIf(!hasScript)('meshgate top on a pseudo terminal', () => {
  it.each(['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT'] as const)('leaves its screen at %s', async (signal) => {
    await using files = await gatewayFolder([]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const main = `${ROOT}/apps/gateway/dist/main.js`;
    const shell = `echo "pid $$."; exec ${process.execPath} ${main} top --admin ${gateway.admin}`;
    const script = spawn('script', ['-qefc', shell, '/dev/null'], {
      env: { ...process.env, TERM: 'xterm' },
      stdio: 'pipe',
    });
    const ended = once(script, 'close');
    let screen = '';
    script.stdout.on('data', (chunk: Buffer) => (screen += chunk.toString()));
    await expect.poll(() => screen, { timeout: 10_000 }).toMatch(/: ready/);
    process.kill(Number(/pid (\d+)\./.exec(screen)?.[1]), signal);
    expect((await ended)[0]).toBe(0);
    expect(screen.trimEnd().endsWith('\u001B[?7h\u001B[?25h\u001B[?1049l')).toBe(true);
  });
});

const STATUS: StatusView = {
  version: '1.0.0',
  node: '24.0.0',
  host: 'gw',
  pid: 1,
  startedAt: '2026-01-01T00:00:00.000Z',
  role: 'gateway',
  transport: 'epoll',
  workers: 2,
  ready: false,
  reasons: ['source a: no snapshot yet'],
  warnings: ['evil \u001B[2J name'],
  logLevel: 'info',
  listeners: [{ name: 'l', host: '::', port: 443, bound: false }],
  sources: [{ name: 's', state: 'waiting', routes: 0, warnings: [] }],
  drain: { state: 'serving', remaining: 0, finished: 0, cut: 0, remainingMs: 0 },
  routes: 2,
  ejected: 0,
};
const NOW = new Date('2026-01-02T03:00:00.000Z');

describe('the output of status', () => {
  it('has one fact a line, and no control character from outside', () => {
    expect(statusText(STATUS, NOW)).toBe(`\
gateway gw: not ready, up 1 d 3 h (meshgate 1.0.0, pid 1, transport epoll, 2 workers)
  not ready: source a: no snapshot yet
  warning: evil \\u001b[2J name
  listener l: [::]:443, not bound
  source s: waiting, 0 routes
  routes: 2; ejected backends: 0
`);
  });
});

describe('the screen of top', () => {
  const model = new TopModel();
  const rates = {
    active: 1,
    closedPerSecond: 1,
    failedPerSecond: 0,
    bytesUpPerSecond: 0,
    bytesDownPerSecond: 0,
    errors: {},
  };
  model.add({ event: 'status', data: STATUS });
  const routes = {
    busy: { ...rates, active: 9 },
    broken: { ...rates, failedPerSecond: 3, errors: { CONNECT_REFUSED: 7 } },
    '': rates,
    'evil\u001B[2J': rates,
  };
  model.add({
    event: 'traffic',
    data: { seconds: 1, connections: 12, acceptedPerSecond: 5, refusedPerSecond: 0, routes },
  });
  const view: TopView = { sort: 'live', filter: '', isTyping: false, isColored: false, columns: 100 };

  it.each([
    ['live', 'busy'],
    ['failed', 'broken'],
    ['name', ''],
  ] as const)('sorts by %s', (sort, first) => {
    expect(topRoutes(model, { sort, filter: '' })[0]?.route).toBe(first);
  });

  it('filters, fits the terminal, and shows no control character from outside', () => {
    expect(topRoutes(model, { sort: 'live', filter: 'BRO' }).map(({ route }) => route)).toEqual(['broken']);
    expect(topRoutes(model, { sort: 'live', filter: '(no' }).map(({ route }) => route)).toEqual(['']);
    for (const columns of [40, 80, 200]) {
      const lines = topScreen(model, { ...view, columns, rows: 10 }, NOW);
      expect(lines.length).toBeLessThanOrEqual(10);
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(columns);
      // oxlint-disable-next-line no-control-regex -- it is what is looked for
      expect(lines.join('\n')).not.toMatch(/\u001B/);
    }
    expect(topScreen(model, view, NOW).join('\n')).toContain('7 CONNECT_REFUSED');
  });

  it.each([
    [20, 5],
    [20, 3],
    [1, 1],
    [80, 11],
  ])('has no more than fits: %i columns, %i rows', (columns, rows) => {
    for (const isTyping of [false, true]) {
      const lines = topScreen(model, { ...view, columns, rows, isTyping, filter: 'b' }, NOW);
      expect(lines.length).toBeLessThanOrEqual(rows);
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(columns);
      if (isTyping) expect(lines.at(-1)).toBe('filter: b_   (Enter: keep, Esc: clear)'.slice(0, columns));
      else
        expect(lines[0]).toBe(
          statusText(STATUS, NOW).slice(0, Math.min(columns, statusText(STATUS, NOW).indexOf('\n'))),
        );
    }
  });

  it('responds to keys', () => {
    const after = (keys: readonly string[]): TopView | undefined =>
      keys.reduce<TopView | undefined>((now, key) => now && afterKey(now, key), view);
    expect(after(['b'])?.sort).toBe('bytes');
    expect(after(['/', 'q', 'x', '\u007F', '\r'])).toMatchObject({ filter: 'q', isTyping: false });
    expect(after(['/', 'q', '\u001B'])).toMatchObject({ filter: '', isTyping: false });
    expect(after(['q'])).toBeUndefined();
    expect(after(['/', '\u0003'])).toBeUndefined();
    expect(after(['\u001B[A'])).toEqual(view);
  });
});

const PROGRAM = commandLine(
  { stdout: { fd: 1, write: () => true }, stderr: { write: () => true }, signals: SIGNALS, env: {} },
  () => undefined,
);

describe('the help of a command', () => {
  it.each(PROGRAM.commands.map((one) => [one.name(), one] as const))(
    '%s has examples with valid options, and exit statuses',
    async (name, one) => {
      const { stdout } = await command([name, '--help']);
      expect(stdout).toContain('\nExit status:\n  0  ');
      const { examples = [] } = COMMAND_HELP[name] ?? {};
      expect(examples).not.toEqual([]);
      for (const example of examples) {
        expect(stdout).toContain(`\n  ${example}\n`);
        const [, called, args = ''] = /meshgate ([a-z-]+)([^|>)]*)/.exec(example) ?? [];
        expect([called, one.parseOptions(args.split(' ').filter(Boolean)).unknown]).toEqual([name, []]);
      }
    },
  );

  it('has no default that reads as nothing', async () => {
    for (const one of PROGRAM.commands) expect((await command([one.name(), '--help'])).stdout).not.toContain('""');
  });
});

describe('completion', () => {
  it('is a script that bash runs, which completes commands and their options', () => {
    const script = `${completionScript(PROGRAM, 'bash')}
COMP_WORDS=(meshgate sta) COMP_CWORD=1; _meshgate; echo "\${COMPREPLY[@]}"
COMP_WORDS=(meshgate top --s) COMP_CWORD=2; _meshgate; echo "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = spawnSync('bash', ['-c', script], { encoding: 'utf8' });
    expect([stdout, stderr]).toEqual(['status\n--sort\n', '']);
  });

  it.each(['zsh', 'fish'] as const)('for %s has every command and every option', (shell) => {
    const script = completionScript(PROGRAM, shell);
    for (const one of PROGRAM.commands) {
      expect(script).toContain(one.name());
      for (const { long } of one.options) expect(script).toContain(long?.replace('--', ''));
    }
  });
});

describe('docs/operate/commands.md', () => {
  it('has every command with its description, and no other', () => {
    const rows = Array.from(
      pageText('docs/operate/commands.md').matchAll(/^\| `meshgate ([a-z-]+)[^`]*` *\| ([^|]+?) *\|/gm),
      ([, name, about]) => [name, about],
    );
    expect(Object.fromEntries(rows)).toEqual(
      Object.fromEntries(
        PROGRAM.commands.map((one) => [
          one.name(),
          `${one.description().charAt(0).toUpperCase()}${one.description().slice(1)}.`,
        ]),
      ),
    );
  });

  it('has the exit statuses of every command, as its help does', () => {
    const [, statuses = ''] = pageText('docs/operate/commands.md').split('## Exit status');
    const rows = Array.from(
      statuses.matchAll(/^\| `([a-z-]+)` +\| (.+?) +\| (.*?) *\|$/gm),
      ([, name = '', done = '', failed = '']) => [name, { done, failed }] as const,
    );
    const inHelp = Object.entries(COMMAND_HELP).map(([name, { done, failed = '' }]) => [name, { done, failed }]);
    expect(Object.fromEntries(rows)).toEqual(Object.fromEntries(inHelp));
    expect(rows.map(([name]) => name).toSorted()).toEqual(PROGRAM.commands.map((one) => one.name()).toSorted());
  });

  it('is right that every command but these has --json', () => {
    const without = PROGRAM.commands.filter(({ options }) => !options.some(({ long }) => long === '--json'));
    expect(without.map((one) => one.name()).toSorted()).toEqual(['completion', 'gateway', 'sidecar']);
  });
});
