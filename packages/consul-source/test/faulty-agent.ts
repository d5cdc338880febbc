import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** The fault of the agent. `none`: requests are forwarded. */
export type Fault = 'none' | 'status 500' | 'garbage' | 'wrong shape' | 'reset' | 'silence';

/** A proxy in front of a real agent that injects faults on demand, and counts connections. */
export class FaultyAgent implements AsyncDisposable {
  readonly #server: Server;
  readonly #target: string;
  #fault: Fault = 'none';
  #sockets = 0;
  #mostSockets = 0;
  #held = 0;

  private constructor(target: string) {
    this.#target = target;
    this.#server = createServer((incoming, outgoing) => this.#respond(incoming, outgoing));
    this.#server.on('connection', (socket) => {
      this.#sockets += 1;
      this.#mostSockets = Math.max(this.#mostSockets, this.#sockets);
      socket.on('close', () => (this.#sockets -= 1));
    });
  }

  static async before(target: string): Promise<FaultyAgent> {
    const agent = new FaultyAgent(target);
    agent.#server.listen(0, '127.0.0.1');
    await once(agent.#server, 'listening');
    return agent;
  }

  get address(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Queries that currently block in the real agent. */
  get held(): number {
    return this.#held;
  }

  /** Current number of connections. */
  get sockets(): number {
    return this.#sockets;
  }

  /** Maximum number of concurrent connections so far. */
  get mostSockets(): number {
    return this.#mostSockets;
  }

  /** Effective immediately; pending queries are aborted. */
  misbehave(fault: Fault): void {
    this.#fault = fault;
    this.#server.closeAllConnections();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    if (this.#server.listening) await once(this.#server, 'close');
  }

  #respond(incoming: IncomingMessage, outgoing: ServerResponse): void {
    switch (this.#fault) {
      case 'none':
        return this.#pass(incoming, outgoing);
      case 'status 500':
        return void outgoing.writeHead(500, { 'X-Consul-Index': '1' }).end('No cluster leader');
      case 'garbage':
        return void outgoing.writeHead(200, { 'X-Consul-Index': '5' }).end('<html>not Consul</html>');
      case 'wrong shape':
        return void outgoing.writeHead(200, { 'X-Consul-Index': '5' }).end('"a text"');
      case 'reset':
        return void incoming.socket.resetAndDestroy();
      case 'silence':
        return;
    }
  }

  #pass(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const { method, headers, url = '/' } = incoming;
    const onward = request(new URL(url, this.#target), { method: method ?? 'GET', headers }, (response) => {
      outgoing.writeHead(response.statusCode ?? 502, response.headers);
      response.pipe(outgoing);
    });
    this.#held += 1;
    outgoing.on('close', () => (this.#held -= 1));
    onward.on('error', () => outgoing.destroy());
    outgoing.on('close', () => onward.destroy());
    incoming.pipe(onward);
  }
}
