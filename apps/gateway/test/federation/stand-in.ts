import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HTTP } from './consul.ts';
import type { Inside } from './inside.ts';

/** The agent's behaviour: normal, invalid responses, or delayed ones. */
export type Manner = 'itself' | 'garbage' | 'status 500' | 'slow';

// Longer than a client should wait for a local agent, shorter than the timeout of a query.
const DELAY_MS = 3_000;

/** A proxy in front of a real agent, on a unix socket, that injects faults. */
export class StandIn implements AsyncDisposable {
  /** For `--http-addr`. */
  readonly address: string;
  readonly #folder: string;
  readonly #target: string;
  readonly #server: Server;
  #manner: Manner = 'itself';

  private constructor(folder: string, target: string) {
    this.#folder = folder;
    this.#target = target;
    this.address = `unix://${join(folder, 'agent.sock')}`;
    this.#server = createServer((incoming, outgoing) => this.#respond(incoming, outgoing));
  }

  static async before(inside: Inside): Promise<StandIn> {
    const { host } = await inside.to(HTTP);
    const standIn = new StandIn(mkdtempSync(join(tmpdir(), 'meshgate-agent-')), host.slice('unix:'.length));
    standIn.#server.listen(standIn.address.slice('unix://'.length));
    await once(standIn.#server, 'listening');
    return standIn;
  }

  /** Effective immediately; pending queries are aborted. */
  behave(manner: Manner): void {
    this.#manner = manner;
    this.#server.closeAllConnections();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    if (this.#server.listening) await once(this.#server, 'close');
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #respond(incoming: IncomingMessage, outgoing: ServerResponse): void {
    switch (this.#manner) {
      case 'itself':
        return this.#pass(incoming, outgoing);
      case 'garbage':
        return void outgoing.writeHead(200, { 'X-Consul-Index': '7' }).end('<html>not Consul</html>');
      case 'status 500':
        return void outgoing.writeHead(500, { 'X-Consul-Index': '1' }).end('No cluster leader');
      case 'slow':
        return void setTimeout(() => this.#pass(incoming, outgoing), DELAY_MS).unref();
    }
  }

  #pass(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const { method, headers, url } = incoming;
    const onward = request({ socketPath: this.#target, path: url, method, headers }, (response) => {
      outgoing.writeHead(response.statusCode ?? 502, response.headers);
      response.pipe(outgoing);
    });
    onward.on('error', () => outgoing.destroy());
    outgoing.on('close', () => onward.destroy());
    incoming.pipe(onward);
  }
}
