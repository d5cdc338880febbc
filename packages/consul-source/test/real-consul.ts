import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { needs } from '@meshgate/testkit';
import type { DeclareSuite } from '@meshgate/testkit';

/** The exports of `scripts/consul.mjs`. */
interface ConsulScript {
  findConsul(): string | undefined;
  minorRelease(binary: string): number;
  closedPorts(binary: string): Readonly<Record<string, number>>;
}

// A URL that the compiler cannot resolve: the script is plain JavaScript outside this package.
const script = (await import(new URL('../../../scripts/consul.mjs', import.meta.url).href)) as ConsulScript;
const binary = script.findConsul();

/** Minor version of the binary: 16 for 1.16.4. `undefined` without a binary. */
export const consulMinor = binary === undefined ? undefined : script.minorRelease(binary);

/** A suite that needs a Consul binary. */
export const describeWithConsul: DeclareSuite = needs(
  'consul',
  binary === undefined ? 'no binary on PATH, in MESHGATE_CONSUL_BIN or fetched by scripts/consul.mjs' : true,
);

/** A Consul server on loopback ports of its own. */
export class Consul implements AsyncDisposable {
  readonly address: string;
  /** Where other datacenters join it. */
  readonly wanAddress: string;
  /** Its gRPC address for Envoy. */
  readonly grpcAddress: string;
  readonly #folder: string;
  readonly #config: object;
  readonly #headers: Readonly<Record<string, string>>;
  #process: ChildProcess;

  private constructor(
    config: object,
    { http, serfWan, grpc }: { readonly http: number; readonly serfWan: number; readonly grpc: number },
    headers: Readonly<Record<string, string>>,
  ) {
    this.#folder = mkdtempSync(join(tmpdir(), 'meshgate-consul-test-'));
    this.#config = config;
    this.address = `http://127.0.0.1:${http}`;
    this.wanAddress = `127.0.0.1:${serfWan}`;
    this.grpcAddress = `http://127.0.0.1:${grpc}`;
    this.#headers = headers;
    this.#process = this.#spawn();
  }

  /** Starts one and waits until it has a leader and a certificate authority. */
  static async start(settings: object = {}, token?: string): Promise<Consul> {
    const [http = 0, server = 0, serfLan = 0, serfWan = 0, grpc = 0] = await freePorts(5);
    const config = {
      datacenter: 'dc1',
      node_name: 'server-1',
      server: true,
      bootstrap_expect: 1,
      bind_addr: '127.0.0.1',
      connect: { enabled: true },
      ports: { http, server, serf_lan: serfLan, serf_wan: serfWan, grpc, ...script.closedPorts(binary ?? 'consul') },
      performance: { raft_multiplier: 1 },
      log_level: 'ERROR',
      ...settings,
    };
    const headers = token === undefined ? {} : { 'x-consul-token': token };
    const consul = new Consul(config, { http, serfWan, grpc }, headers);
    await consul.ready();
    return consul;
  }

  /** Kills it: only state on disk survives. */
  async kill(): Promise<void> {
    const gone = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await gone;
  }

  /** Stops (SIGSTOP) and continues it: while stopped it does not answer, and its sockets stay open. */
  freeze(frozen: boolean): void {
    this.#process.kill(frozen ? 'SIGSTOP' : 'SIGCONT');
  }

  /** Starts it again on the same ports; with `empty`, without its data. */
  async restart({ empty = false }: { readonly empty?: boolean } = {}): Promise<void> {
    if (empty) rmSync(this.#dataDir, { recursive: true, force: true });
    this.#process = this.#spawn();
    await this.ready();
  }

  /** Waits until it has a leader, a certificate authority, and itself in the catalog. */
  async ready(): Promise<void> {
    for (;;) {
      const [roots, nodes] = await Promise.all(
        ['agent/connect/ca/roots', 'catalog/nodes'].map((path) => this.get(path).catch(() => [])),
      );
      const isEmpty = Array.isArray(nodes) && nodes.length === 0;
      if (!Array.isArray(roots) && (!isEmpty || Object.keys(this.#headers).length === 0)) return;
      await pause(POLL_MS);
    }
  }

  async get(path: string): Promise<unknown> {
    const response = await fetch(`${this.address}/v1/${path}`, { headers: this.#headers });
    if (!response.ok)
      throw new Error(`GET ${path}: expected success, found ${response.status}: ${await response.text()}`);
    return response.json();
  }

  async put(path: string, body?: unknown): Promise<unknown> {
    return this.#send('PUT', path, body);
  }

  async delete(path: string): Promise<unknown> {
    return this.#send('DELETE', path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      this.freeze(false);
      await this.kill();
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #send(method: string, path: string, body?: unknown): Promise<unknown> {
    const response = await fetch(`${this.address}/v1/${path}`, {
      method,
      headers: this.#headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: expected success, found ${response.status}: ${text}`);
    return text === '' ? undefined : (JSON.parse(text) as unknown);
  }

  get #dataDir(): string {
    return join(this.#folder, 'data');
  }

  #spawn(): ChildProcess {
    const file = join(this.#folder, 'agent.json');
    writeFileSync(file, JSON.stringify({ ...this.#config, data_dir: this.#dataDir }));
    const agent = spawn(binary ?? 'consul', ['agent', '-config-file', file], { stdio: 'ignore' });
    // A test that times out does not run its own clean-up.
    const kill = (): void => void agent.kill('SIGKILL');
    process.once('exit', kill);
    agent.once('exit', () => process.off('exit', kill));
    return agent;
  }
}

const POLL_MS = 50;

/** Ports that are currently free. */
async function freePorts(count: number): Promise<readonly number[]> {
  const probes = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(probes.map((probe) => once(probe, 'listening')));
  const ports = probes.map((probe) => (probe.address() as AddressInfo).port);
  await Promise.all(
    probes.map((probe) => {
      probe.close();
      return once(probe, 'close');
    }),
  );
  return ports;
}
