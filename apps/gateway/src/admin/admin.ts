import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { formatEndpoint } from '@meshgate/core';
import { settlesWithin } from '@meshgate/core/parts';
import type { Endpoint, Observer, Service } from '@meshgate/core';
import type { AdminAnswer, AdminPaths } from './admin-paths.ts';
import { jsonStream } from './json-stream.ts';

/** What an {@link AdminServer} is made of. */
export interface AdminOptions {
  readonly endpoint: Endpoint;
  readonly paths: AdminPaths;
  /** Receives failures of our own. */
  readonly observer: Observer;
}

/** The HTTP server of the admin API. What it serves is `paths`. */
export class AdminServer implements Service {
  readonly name = 'admin';
  readonly #options: AdminOptions;
  readonly #server: Server;
  readonly #answering = new Set<Promise<void>>();
  /** Oldest first. */
  readonly #sockets = new Set<Socket>();
  readonly #busy = new Set<Socket>();

  constructor(options: AdminOptions) {
    this.#options = options;
    this.#server = createServer(BOUNDS, (request, response) => {
      const answering = this.#answer(request, response).finally(() => this.#answering.delete(answering));
      this.#answering.add(answering);
    });
    this.#server.on('connection', (socket) => this.#admit(socket));
    this.#server.timeout = SILENCE_MS;
  }

  /** Where it answers; absent while it does not. */
  get url(): string | undefined {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') return undefined;
    return `http://${formatEndpoint({ host: address.address, port: address.port })}`;
  }

  /** Rejects with the system's error when it cannot bind. */
  async start(): Promise<void> {
    const { host, port } = this.#options.endpoint;
    this.#server.listen({ host, port });
    await once(this.#server, 'listening');
    // An accept that fails, for want of descriptors for example, is no reason for anything else to.
    this.#server.on('error', (error) => this.#report(error));
  }

  /** Responses under way, such as that to `POST /drain`, are finished; idle connections are closed. */
  async stop(signal: AbortSignal): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    await settlesWithin(Promise.allSettled(this.#answering), STOP_PATIENCE_MS, signal);
    this.#server.closeAllConnections();
    await closed;
  }

  /**
   * Silent connections must not keep out probes: beyond the limit the oldest one that has never asked anything is closed, and only when
   * there is none the oldest that waits for no answer: a scraper is about to use it again.
   */
  #admit(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    if (this.#sockets.size <= MAX_CONNECTIONS) return;
    let idle: Socket | undefined;
    for (const other of this.#sockets) {
      if (this.#busy.has(other) || other === socket) continue;
      idle ??= other;
      if (other.bytesRead > 0) continue;
      idle = other;
      break;
    }
    idle?.destroy();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket } = request;
    this.#busy.add(socket);
    response.once('close', () => this.#busy.delete(socket));
    try {
      // No request has a body that matters.
      request.resume();
      await write(await this.#find(request), request.method === 'HEAD', response);
    } catch (reason) {
      this.#failed(reason, response);
    }
  }

  async #find({ method = '', url = '/', headers }: IncomingMessage): Promise<Found> {
    if (!this.#isOurs(headers.host))
      return { answer: refusal(403, `expected a Host header of this machine, found ${headers.host}`) };
    const [pathname = '/', query = ''] = url.split('?', 2);
    const path = Object.hasOwn(this.#options.paths, pathname) ? this.#options.paths[pathname] : undefined;
    if (path === undefined) return { answer: refusal(404, `no such path: ${pathname}`) };
    const answerer = method === 'HEAD' ? path.GET : method === 'GET' || method === 'POST' ? path[method] : undefined;
    if (answerer === undefined)
      return { answer: refusal(405, `${pathname} has no method ${method}`), allow: methodsOf(path) };
    if (method === 'POST' && headers.origin !== undefined)
      return { answer: refusal(403, 'requests from web pages are refused: expected no Origin header') };
    return { answer: await answerer({ query: new URLSearchParams(query), accept: headers.accept }) };
  }

  /**
   * Whether `host` may be meant. A page in a browser of this machine can have a name of its own lead to loopback (DNS rebinding), and would
   * read every answer then: on loopback only addresses and `localhost` are served.
   */
  #isOurs(host: string | undefined): boolean {
    if (host === undefined || !isLoopback(this.#options.endpoint.host)) return true;
    const name = host
      .replace(/:\d*$/, '')
      .replace(/^\[(.*)\]$/, '$1')
      .toLowerCase();
    return isIP(name) !== 0 || name === 'localhost' || name.endsWith('.localhost');
  }

  #failed(reason: unknown, response: ServerResponse): void {
    // The client has gone, or was too slow.
    if (response.destroyed || response.headersSent) return void response.destroy();
    this.#report(reason instanceof Error ? reason : new Error(String(reason)));
    response.writeHead(500, { 'content-type': JSON_TYPE }).end('{"error":"INTERNAL"}\n');
  }

  #report(error: Error): void {
    this.#options.observer.observe({ type: 'service.failed', service: this.name, error });
  }
}

interface Found {
  readonly answer: AdminAnswer;
  /** For the header `Allow`. */
  readonly allow?: string;
}

async function write({ answer, allow }: Found, isHead: boolean, response: ServerResponse): Promise<void> {
  const contentType = 'json' in answer ? JSON_TYPE : answer.contentType;
  response.writeHead(answer.status, {
    'content-type': contentType,
    'cache-control': 'no-store',
    ...(allow !== undefined && { allow }),
  });
  if (isHead) response.end();
  else await pipeline('text' in answer ? Readable.from([answer.text]) : jsonStream(answer.json), response);
}

function isLoopback(host: string): boolean {
  return host === '::1' || host.startsWith('127.');
}

function refusal(status: number, error: string): AdminAnswer {
  return { status, json: { error } };
}

function methodsOf(path: AdminPaths[string]): string {
  return Object.keys(path)
    .flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method]))
    .join(', ');
}

const JSON_TYPE = 'application/json; charset=utf-8';

/** Some probes, some scrapers, some operators: more must not use up the descriptors of connections. */
const MAX_CONNECTIONS = 64;
/** A connection without progress for so long, in an answer or in a request, is closed. */
const SILENCE_MS = 30_000;

/** Longer than a scrape takes, shorter than anybody waits for a process to end. */
const STOP_PATIENCE_MS = 1_000;

/** Requests of the admin API are a line and a few headers. */
const BOUNDS = {
  maxHeaderSize: 8 * 1024,
  headersTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
  requestTimeout: 10_000,
  keepAliveTimeout: 5_000,
} as const;
