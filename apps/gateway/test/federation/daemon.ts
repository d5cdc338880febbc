import { once } from 'node:events';
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Endpoint } from '@meshgate/core';
import { eventually } from './eventually.ts';
import type { Inside } from './inside.ts';
import type { Namespace } from './namespace.ts';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

/** A line of the log. */
export type LogLine = Readonly<Record<string, unknown>>;

/** The response of `GET /ready`. */
export interface Readiness {
  readonly ready: boolean;
  readonly reasons: readonly string[];
  readonly warnings: readonly string[];
}

/** A route as `GET /routes` shows it. */
export interface RouteShown {
  readonly name: string;
  readonly kind: string;
  readonly backends: readonly { readonly host: string; readonly port: number; readonly healthy: boolean }[];
}

/** Where a gateway or a sidecar runs, and its command line. */
export interface DaemonSettings {
  readonly namespace: Namespace;
  readonly inside: Inside;
  readonly command: 'gateway' | 'sidecar';
  /** Its admin API, in that network. */
  readonly admin: Endpoint;
  /** Arguments after the command, in addition to the admin address. */
  readonly flags: readonly string[];
}

/** `meshgate gateway` or `meshgate sidecar` as a process in a network namespace. */
export class DaemonProcess implements AsyncDisposable {
  readonly #settings: DaemonSettings;
  readonly lines: LogLine[] = [];
  readonly #waiting = new Set<() => void>();
  #process: ChildProcess;

  constructor(settings: DaemonSettings) {
    this.#settings = settings;
    this.#process = this.#spawn();
  }

  /** Resolves with its exit status. */
  get ended(): Promise<number | null> {
    const { exitCode, signalCode } = this.#process;
    if (exitCode !== null || signalCode !== null) return Promise.resolve(exitCode);
    return once(this.#process, 'close').then(([status]: (number | null)[]) => status ?? null);
  }

  /** Waits until `GET /ready` reports readiness, and for its warnings, if given. */
  ready(holds: (readiness: Readiness) => boolean = ({ ready }) => ready): Promise<Readiness> {
    return eventually(
      'a daemon that is ready',
      async () => {
        const readiness = (await this.query('/ready')) as Readiness;
        if (holds(readiness)) return readiness;
        throw new Error(JSON.stringify({ readiness, log: this.lines.slice(-5) }));
      },
      READY_MS,
    );
  }

  /** Waits for a route, and for a condition on it. */
  route(name: string, holds: (route: RouteShown) => boolean = () => true): Promise<RouteShown> {
    return eventually(
      `the route ${name} of ${holds.toString()}`,
      async () => {
        const found = (await this.routes()).find((route) => route.name === name);
        if (found === undefined || !holds(found)) throw new Error(JSON.stringify(found));
        return found;
      },
      ROUTED_MS,
    );
  }

  async routes(): Promise<readonly RouteShown[]> {
    return ((await this.query('/routes')) as { readonly routes: readonly RouteShown[] }).routes;
  }

  /** Queries the admin API; resolves for any status. */
  async query(path: string): Promise<unknown> {
    return JSON.parse(await this.#text(path));
  }

  /** The value of a metric: the sum of all series with labels that `holds`. */
  async metric(name: string, holds: (labels: string) => boolean = () => true): Promise<number> {
    const series = (await this.#text('/metrics')).matchAll(/^(\w+)\{?([^}\n]*)\}? (\S+)$/gm);
    return Array.from(series, ([, metric, labels = '', value]) =>
      metric === name && holds(labels) ? Number(value) : 0,
    ).reduce((sum, value) => sum + value, 0);
  }

  /** The first line from index `from` on that `matches`; waits for it. */
  async line(matches: (line: LogLine) => boolean, from = 0): Promise<LogLine> {
    for (;;) {
      const found = this.lines.slice(from).find(matches);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  signal(name: NodeJS.Signals): void {
    this.#process.kill(name);
  }

  /** Kills it (SIGKILL). */
  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.ended;
  }

  /** Starts it again with the same command line. */
  restart(): void {
    this.#process = this.#spawn();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  async #text(path: string): Promise<string> {
    return (await this.#settings.inside.query(this.#settings.admin, path)).text;
  }

  #spawn(): ChildProcess {
    const { namespace, command, admin, flags } = this.#settings;
    const words = [process.execPath, MAIN, command, '--admin-bind', `${admin.host}:${admin.port}`, ...flags];
    const child = namespace.spawn(words, ['ignore', 'pipe', 'pipe']);
    if (child.stdout !== null)
      createInterface({ input: child.stdout }).on('line', (text) => this.#add(JSON.parse(text) as LogLine));
    child.stderr?.on('data', (chunk: Buffer) => this.#add({ stderr: chunk.toString() }));
    return child;
  }

  #add(line: LogLine): void {
    this.lines.push(line);
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}

// A start takes half a second; on two busy cores it may take several.
const READY_MS = 20_000;
// Consul takes some seconds to replicate the gateways of one datacenter to the other, longer after a restart.
const ROUTED_MS = 60_000;
