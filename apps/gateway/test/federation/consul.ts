import { once } from 'node:events';
import { execFile } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Endpoint } from '@meshgate/core';
import { needs } from '@meshgate/testkit';
import type { DeclareSuite, IssuedCertificate } from '@meshgate/testkit';
import { eventually } from './eventually.ts';
import type { Inside } from './inside.ts';
import { namespacesAvailable } from './namespace.ts';
import type { Namespace } from './namespace.ts';

/** The exports of `scripts/consul.mjs`. */
interface ConsulScript {
  findConsul(): string | undefined;
}

// A URL that the compiler cannot resolve: the script is plain JavaScript outside this package.
const script = (await import(new URL('../../../../scripts/consul.mjs', import.meta.url).href)) as ConsulScript;
const binary = script.findConsul();
const consulAvailable =
  binary === undefined ? 'no binary on PATH, in MESHGATE_CONSUL_BIN or fetched by scripts/consul.mjs' : true;
const declareWithConsul = needs('consul', consulAvailable);
const declareInNetworks = needs('netns', namespacesAvailable());

/** A suite that needs real Consul and network namespaces. */
export const describeInNetworks: DeclareSuite = consulAvailable === true ? declareInNetworks : declareWithConsul;

/** A suite that needs network namespaces, but no Consul. */
export const describeInNetworksOnly: DeclareSuite = declareInNetworks;

/** Runs a Consul command, and resolves with its output. Rejects for any status other than 0. */
export async function consulCommand(...args: readonly string[]): Promise<string> {
  return (await promisify(execFile)(binary ?? 'consul', args)).stdout;
}

/** Address of an agent's API in its own network. */
export const HTTP: Endpoint = { host: '127.0.0.1', port: 8500 };

/** A Consul server in its own network namespace, with its API on loopback there. */
export class Consul implements AsyncDisposable {
  readonly #namespace: Namespace;
  readonly #inside: Inside;
  readonly #folder = mkdtempSync(join(tmpdir(), 'meshgate-consul-test-'));
  readonly #config: object;
  readonly #headers: Readonly<Record<string, string>>;
  #process: ChildProcess;

  private constructor(namespace: Namespace, inside: Inside, { settings, token }: ConsulOptions) {
    this.#namespace = namespace;
    this.#inside = inside;
    this.#headers = token === undefined ? {} : { 'x-consul-token': token };
    this.#config = {
      datacenter: 'dc1',
      primary_datacenter: 'dc1',
      server: true,
      bootstrap_expect: 1,
      client_addr: HTTP.host,
      connect: { enabled: true },
      ports: { http: HTTP.port, dns: -1, grpc: -1 },
      performance: { raft_multiplier: 1 },
      log_level: 'ERROR',
      ...settings,
    };
    this.#process = this.#spawn();
  }

  /** Starts one; see {@link ready}. */
  static start(namespace: Namespace, inside: Inside, options: ConsulOptions): Consul {
    return new Consul(namespace, inside, options);
  }

  /** Waits until it has a leader, a certificate authority, and itself in the catalog. */
  async ready(): Promise<this> {
    await eventually('a Consul server that is ready', () => this.#isReady(), READY_MS);
    return this;
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

  /** Starts it again; with `empty`, without its data. */
  async restart({ empty = false }: { readonly empty?: boolean } = {}): Promise<void> {
    if (empty) rmSync(join(this.#folder, 'data'), { recursive: true, force: true });
    this.#process = this.#spawn();
    await this.ready();
  }

  /** JSON response to a GET; rejects for any status other than 200. */
  get(path: string): Promise<unknown> {
    return this.#query('GET', path);
  }

  put(path: string, body?: unknown): Promise<unknown> {
    return this.#query('PUT', path, body);
  }

  post(path: string, body: unknown): Promise<unknown> {
    return this.#query('POST', path, body);
  }

  /** The trust domain of its mesh. */
  async trustDomain(): Promise<string> {
    const { TrustDomain } = (await this.get('agent/connect/ca/roots')) as { readonly TrustDomain: string };
    return TrustDomain;
  }

  /** The certificate of a service for the mesh, issued by this Consul. */
  async identity(service: string): Promise<IssuedCertificate> {
    const { CertPEM, PrivateKeyPEM } = (await this.get(`agent/connect/ca/leaf/${service}`)) as Leaf;
    return { certificate: CertPEM, chain: CertPEM, privateKey: PrivateKeyPEM };
  }

  /** The CA roots of the mesh (PEM). */
  async roots(): Promise<string> {
    const { Roots } = (await this.get('agent/connect/ca/roots')) as { readonly Roots: readonly Root[] };
    return Roots.map(({ RootCert }) => `${RootCert}\n`).join('');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      this.freeze(false);
      await this.kill();
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #isReady(): Promise<true | undefined> {
    const [roots, nodes] = await Promise.all([this.get('agent/connect/ca/roots'), this.get('catalog/nodes')]);
    const known = (nodes as readonly unknown[]).length > 0;
    return known && (roots as { readonly Roots?: unknown }).Roots !== undefined ? true : undefined;
  }

  async #query(method: string, path: string, body?: unknown): Promise<unknown> {
    const { status, text } = await this.#inside.query(HTTP, `/v1/${path}`, { method, body, headers: this.#headers });
    if (status !== 200) throw new Error(`${method} ${path}: expected status 200, found ${status}: ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  }

  #spawn(): ChildProcess {
    const file = join(this.#folder, 'agent.json');
    writeFileSync(file, JSON.stringify({ ...this.#config, data_dir: join(this.#folder, 'data') }));
    const command = [binary ?? 'consul', 'agent', '-config-file', file];
    return this.#namespace.spawn(command, 'ignore');
  }
}

/** The configuration of a server. */
export interface ConsulOptions {
  readonly settings: object;
  /** Name of its datacenter; by default derived from its number. */
  readonly datacenter?: string;
  /** Used by the test itself. */
  readonly token?: string;
}

interface Leaf {
  readonly CertPEM: string;
  readonly PrivateKeyPEM: string;
}

interface Root {
  readonly RootCert: string;
}

// A leader is elected within seconds, even on two busy cores.
const READY_MS = 30_000;
