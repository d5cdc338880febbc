import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Endpoint } from '@meshgate/core';
import type { Namespace } from '../federation/namespace.ts';

const SCRIPT = fileURLToPath(new URL('peers.mjs', import.meta.url));

/**
 * What a backend does: `tls` sends the first bytes of a TLS server; `hangup` closes without a byte; `leave` stops
 * listening once it has a hello, and keeps sending.
 */
export type BackendConduct = 'answer' | 'answer-last' | 'close' | 'reset' | 'silent' | 'tls' | 'hangup' | 'leave';

/** One client. */
export interface Call {
  readonly to: Endpoint;
  /** Its source address; by default any of this machine. */
  readonly from?: string | undefined;
  /** What it sends, one after the other. */
  readonly pieces: readonly Uint8Array[];
  /** Then it half-closes. */
  readonly finish?: boolean | undefined;
  /** `response`: until a backend responds; `end`: until the connection ends, too. */
  readonly until?: 'answer' | 'end' | undefined;
  /** It stays connected until it is released. */
  readonly hold?: boolean | undefined;
  /** First releases those that stay connected. */
  readonly release?: boolean | undefined;
  readonly forMs?: number | undefined;
}

/** Backends and clients in a network namespace. */
export class Peers implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, (response: Reply) => void>();
  #queried = 0;

  constructor(namespace: Namespace) {
    this.#process = namespace.spawn([process.execPath, SCRIPT], ['pipe', 'pipe', 'inherit']);
    const { stdout } = this.#process;
    if (stdout !== null) createInterface({ input: stdout }).on('line', (line) => this.#onResponse(line));
  }

  async serve(name: string, port: number, conduct: BackendConduct): Promise<void> {
    await this.#query({ work: 'serve', name, port, conduct });
  }

  async stop(name: string): Promise<void> {
    await this.#query({ work: 'stop', name });
  }

  /** The outcome for a client: the response of a backend, `closed`, `refused` or `open`. */
  async call({ pieces, ...call }: Call): Promise<string> {
    const encoded = pieces.map((piece) => Buffer.from(piece).toString('base64'));
    return (await this.#query({ work: 'call', ...call, pieces: encoded })).outcome ?? '';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = once(this.#process, 'close');
    this.#process.kill('SIGKILL');
    await gone;
  }

  async #query(request: object): Promise<Reply> {
    this.#queried += 1;
    const id = this.#queried;
    const response = new Promise<Reply>((resolve) => this.#waiting.set(id, resolve));
    this.#process.stdin?.write(`${JSON.stringify({ id, ...request })}\n`);
    const { error, ...rest } = await response;
    if (error !== undefined) throw new Error(error);
    return rest;
  }

  #onResponse(line: string): void {
    const response = JSON.parse(line) as Reply;
    this.#waiting.get(response.id)?.(response);
    this.#waiting.delete(response.id);
  }
}

interface Reply {
  readonly id: number;
  readonly error?: string;
  readonly outcome?: string;
}
