import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { formatEndpoint } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import type { Namespace } from './namespace.ts';

const SCRIPT = fileURLToPath(new URL('inside.mjs', import.meta.url));

/** An HTTP response. */
export interface HttpResponse {
  readonly status: number;
  readonly text: string;
}

/** What a test outside can do in a network namespace: dial, serve, and probe. */
export class Inside implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #folder = mkdtempSync(join(tmpdir(), 'meshgate-inside-'));
  readonly #responses = new Map<number, (reply: Reply) => void>();
  readonly #doors = new Map<string, Promise<Endpoint>>();
  #queried = 0;

  constructor(namespace: Namespace) {
    this.#process = namespace.spawn([process.execPath, SCRIPT], ['pipe', 'pipe', 'inherit']);
    const { stdout } = this.#process;
    if (stdout !== null) createInterface({ input: stdout }).on('line', (line) => this.#onResponse(line));
  }

  /** An address outside that is forwarded to `at` inside. */
  to(at: Endpoint): Promise<Endpoint> {
    const name = formatEndpoint(at);
    const known = this.#doors.get(name);
    if (known !== undefined) return known;
    const path = this.#path();
    const made = this.#query({ door: 'dial', path, ...at }).then(() => ({ host: `unix:${path}`, port: 0 }));
    this.#doors.set(name, made);
    return made;
  }

  /** Forwards `at` inside to an address outside, once something listens on it. */
  async from(at: Endpoint): Promise<Endpoint> {
    const path = this.#path();
    await this.#query({ door: 'serve', path, ...at });
    return { host: `unix:${path}`, port: 0 };
  }

  /** Forwards `at` inside to `to`, from an address that is known there: a router with address translation. */
  async forward(at: Endpoint, to: Endpoint): Promise<void> {
    await this.#query({ door: 'forward', ...at, to });
  }

  /** `connected`, or why not: `ENETUNREACH`, `ECONNREFUSED` … */
  async probe(at: Endpoint): Promise<string> {
    return (await this.#query({ door: 'probe', ...at })).result ?? '';
  }

  /** Sends an HTTP request to a server inside. */
  async query(at: Endpoint, path: string, options: HttpOptions = {}): Promise<HttpResponse> {
    const { host } = await this.to(at);
    return http(host.slice('unix:'.length), path, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { exitCode, signalCode } = this.#process;
    if (exitCode === null && signalCode === null) {
      const gone = once(this.#process, 'close');
      this.#process.kill('SIGKILL');
      await gone;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #path(): string {
    this.#queried += 1;
    return join(this.#folder, `${this.#queried}.sock`);
  }

  async #query(query: object): Promise<Reply> {
    this.#queried += 1;
    const id = this.#queried;
    const reply = new Promise<Reply>((resolve) => this.#responses.set(id, resolve));
    this.#process.stdin?.write(`${JSON.stringify({ id, ...query })}\n`);
    const { error, ...rest } = await reply;
    if (error !== undefined) throw new Error(`${JSON.stringify(query)}: ${error}`);
    return rest;
  }

  #onResponse(line: string): void {
    const reply = JSON.parse(line) as Reply;
    this.#responses.get(reply.id)?.(reply);
    this.#responses.delete(reply.id);
  }
}

interface Reply {
  readonly id: number;
  readonly error?: string;
  readonly result?: string;
}

interface HttpOptions {
  readonly method?: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

// A request is answered at once, or never.
const PATIENCE_MS = 10_000;

async function http(
  socketPath: string,
  path: string,
  { method = 'GET', body, headers = {} }: HttpOptions,
): Promise<HttpResponse> {
  const queried = request({
    socketPath,
    path,
    method,
    headers: { host: 'localhost', ...headers },
    timeout: PATIENCE_MS,
  });
  queried.on('timeout', () => queried.destroy(new Error(`${method} ${path}: no response within ${PATIENCE_MS} ms`)));
  queried.end(body === undefined ? undefined : JSON.stringify(body));
  return new Promise((resolve, reject) => {
    queried.on('error', reject);
    queried.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      response.on('error', reject);
    });
  });
}
