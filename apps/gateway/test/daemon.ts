// Runs the built `meshgate` command as a process, and reports its output and its exit.
import { spawn } from 'node:child_process';
import type { ChildProcess, SpawnOptionsWithStdioTuple, StdioNull, StdioPipe } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Endpoint } from '@meshgate/core';
import { inject, onTestFailed } from 'vitest';

export const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));

/** A folder of its own for a test, removed with it. */
export interface Folder extends AsyncDisposable {
  readonly path: string;
  /** Writes a file: strings as they are, other values as JSON, which is valid YAML. */
  write(name: string, content: unknown): Promise<string>;
}

export async function folder(files: Readonly<Record<string, unknown>> = {}): Promise<Folder> {
  const path = await mkdtemp(join(tmpdir(), 'meshgate-test-'));
  const write = async (name: string, content: unknown): Promise<string> => {
    const file = join(path, name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content));
    return file;
  };
  for (const [name, content] of Object.entries(files)) await write(name, content);
  return { path, write, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Output and exit status of a command. */
export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `meshgate` with `args` until it exits. */
export async function meshgate(args: readonly string[], cwd?: string): Promise<Ended> {
  return run(process.execPath, [MAIN, ...args], cwd);
}

/** Runs any command until it exits, with an empty standard input. */
export async function run(command: string, args: readonly string[], cwd?: string): Promise<Ended> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...(cwd !== undefined && { cwd }) });
  const logged = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (logged.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (logged.stderr += chunk.toString()));
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, ...logged };
}

/** A line of the log. */
export type LogLine = Readonly<Record<string, unknown>>;

/** A gateway that runs until it is disposed of. */
export interface Daemon extends AsyncDisposable {
  readonly pid: number;
  readonly lines: readonly LogLine[];
  readonly stderr: string;
  /** The first line of the whole log that `matches`; rejects when the process exits without it. */
  line(matches: (line: LogLine) => boolean): Promise<LogLine>;
  /** The first line with this message. */
  logged(message: string): Promise<LogLine>;
  signal(name: NodeJS.Signals): void;
  /** Closes our end of its standard output. */
  stopReading(): void;
  /** Its exit status, once no process has its outputs open. */
  readonly ended: Promise<number | null>;
  /** Its exit status, even while other processes have its outputs open. */
  readonly exited: Promise<number | null>;
}

/** A gateway that listens. */
export interface ReadyDaemon extends Daemon {
  /** Its first listener. */
  readonly address: Endpoint;
  readonly admin: string;
  /** Queries the admin API for JSON. */
  query(path: string, init?: RequestInit): Promise<{ readonly status: number; readonly json: unknown }>;
}

/** What every test needs: free ports, JSON logs, a short drain; and the transport under test. */
export const TEST_CONFIG = {
  listeners: [{ name: 'main', address: '127.0.0.1', port: 0 }],
  sources: [{ use: 'file', path: 'routes.yaml' }],
  admin: { port: 0 },
  drain: { grace: '5s', spread: '100ms' },
  transport: inject('transport'),
};

/** Starts `meshgate gateway` on a configuration file. */
export function spawnGateway(config: string): Daemon {
  return spawnMeshgate(['gateway', '--config', config]);
}

/** Starts any long-running command of `meshgate`. */
export function spawnMeshgate(args: readonly string[], nodeOptions: readonly string[] = []): Daemon {
  const child = spawn(process.execPath, [...nodeOptions, MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  return new GatewayProcess(child);
}

/** What a service gets from systemd. */
export interface FromSystemd {
  readonly sockets: readonly number[];
  /** Names of the sockets. */
  readonly names: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** Starts a gateway as systemd does, with open sockets and a variable for its own process id. */
export function activated(config: string, { sockets, names, env }: FromSystemd): Daemon {
  const command = 'LISTEN_PID=$$ exec "$0" "$@"';
  const child = spawn('/bin/sh', ['-c', command, process.execPath, MAIN, 'gateway', '--config', config], {
    stdio: ['ignore', 'pipe', 'pipe', ...sockets],
    env: { ...process.env, LISTEN_FDS: String(sockets.length), LISTEN_FDNAMES: names.join(':'), ...env },
  });
  return new GatewayProcess(child as Piped);
}

/**
 * Starts any command of `meshgate` with `stdout`, a descriptor or `pipe`, as its standard output, which is not read.
 */
export function spawnWithOutput(args: readonly string[], stdout: number | 'pipe'): ChildProcess {
  return spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', stdout, 'inherit'] });
}

/** Starts a gateway and waits until its log says that it is ready, or, where it will not be, that it has started. */
export function startGateway(config: string, until: 'ready' | 'started' = 'ready'): Promise<ReadyDaemon> {
  return readyDaemon((node, main) => spawn(node, [main, 'gateway', '--config', config], PIPED), until);
}

/** The same with a custom command, which finally runs `main` with `node`. */
export async function readyDaemon(
  start: (node: string, main: string) => Piped,
  until: 'ready' | 'started' = 'ready',
): Promise<ReadyDaemon> {
  const daemon = new GatewayProcess(start(process.execPath, MAIN));
  const { listeners = [], admin } = (await daemon.logged(until)) as unknown as Ready;
  const address = listeners[0] ?? { host: '', port: 0 };
  return Object.assign(daemon, { address, admin, query: querier(admin) });
}

const PIPED: SpawnOptionsWithStdioTuple<StdioNull, StdioPipe, StdioPipe> = { stdio: ['ignore', 'pipe', 'pipe'] };

/** A process whose output is read. */
type Piped = ChildProcess & { readonly stdout: NodeJS.ReadableStream; readonly stderr: NodeJS.ReadableStream };

interface Ready {
  readonly listeners?: readonly Endpoint[];
  readonly admin: string;
}

function querier(admin: string): ReadyDaemon['query'] {
  return async (path, init) => {
    const response = await fetch(new URL(path, admin), init);
    return { status: response.status, json: await response.json() };
  };
}

class GatewayProcess implements Daemon {
  readonly lines: LogLine[] = [];
  readonly ended: Promise<number | null>;
  readonly exited: Promise<number | null>;
  stderr = '';
  readonly #child: ChildProcess;
  readonly #waiting = new Set<() => void>();
  #hasEnded = false;

  constructor(child: Piped) {
    this.#child = child;
    reportAtFailure(() => `${child.spawnargs.join(' ')} (pid ${this.pid}):\n${this.#lastLines()}${this.stderr}`);
    createInterface(child.stdout).on('line', (text) => this.#add(text));
    child.stderr.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()));
    this.exited = once(child, 'exit').then(([status]: (number | null)[]) => status ?? null);
    this.ended = once(child, 'close').then(([status]: (number | null)[]) => {
      this.#hasEnded = true;
      this.#notify();
      return status ?? null;
    });
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  async line(matches: (line: LogLine) => boolean): Promise<LogLine> {
    for (;;) {
      const found = this.lines.find(matches);
      if (found !== undefined) return found;
      if (this.#hasEnded)
        throw new Error(`no such line before the end:\n${JSON.stringify(this.lines)}\n${this.stderr}`);
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  logged(message: string): Promise<LogLine> {
    return this.line(({ msg }) => msg === message);
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  stopReading(): void {
    this.#child.stdout?.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#hasEnded) this.#child.kill('SIGKILL');
    await this.ended;
  }

  #add(text: string): void {
    this.lines.push(text.startsWith('{') ? (JSON.parse(text) as LogLine) : { msg: text });
    this.#notify();
  }

  #lastLines(): string {
    // Without the access log, whose lines have no message.
    return this.lines
      .filter(({ msg }) => msg !== undefined)
      .slice(-LINES_AT_FAILURE)
      .map((line) => `${JSON.stringify(line)}\n`)
      .join('');
  }

  #notify(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}

const LINES_AT_FAILURE = 30;

/** Prints `report` when the running test fails, including by timeout. */
function reportAtFailure(report: () => string): void {
  try {
    onTestFailed(() => console.error(report()));
  } catch {
    // Started in a hook, for several tests: then there is only the error message.
  }
}

/** A route file: a route for each backend, named after it. */
export function routesTo(...backends: readonly { readonly name: string; readonly address: Endpoint }[]): object {
  return {
    routes: backends.map(({ name, address: { host: address, port } }) => ({
      name: name.split('.')[0],
      serverNames: [name],
      backends: [{ address, port }],
    })),
  };
}

/** The files of a gateway whose routes lead to `backends`. */
export function gatewayFolder(
  backends: readonly { readonly name: string; readonly address: Endpoint }[],
  settings: object = {},
): Promise<Folder> {
  return folder({ 'meshgate.yaml': { ...TEST_CONFIG, ...settings }, 'routes.yaml': routesTo(...backends) });
}
