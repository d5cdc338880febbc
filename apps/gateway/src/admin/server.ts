import { once, setMaxListeners } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { formatEndpoint, unixPath } from '@meshgate/core';
import { descriptorOf, leadsTo, removePath, settlesWithin } from '@meshgate/core/parts';
import type { InheritedSocket, InheritedSockets } from '../run/inherited-sockets.ts';
import type { Endpoint, Observer, Service } from '@meshgate/core';
import type { AdminSettings } from '../config/config-schema.ts';
import { changeRefusal, isLoopback } from './change-guard.ts';
import { JSON_TYPE } from './endpoint.ts';
import type { AdminResponse, AdminEndpoint } from './endpoint.ts';
import { jsonStream } from './json-stream.ts';
import { routerOf } from './routing.ts';
import type { Router } from './routing.ts';
import { listenOnSocket } from './unix-socket.ts';

/** Dependencies of an {@link AdminServer}. */
export interface AdminOptions {
  /** Listen address, and the token that changes require; see {@link AdminServer.use}. */
  readonly settings: AdminSettings;
  readonly endpoints: readonly AdminEndpoint[];
  /** Receives internal failures. */
  readonly observer: Observer;
  /** Inherited sockets; none when absent. */
  readonly sockets?: InheritedSockets;
}

/** The HTTP server of the admin API at one address. */
export class AdminServer implements Service {
  readonly name = 'admin';
  readonly #options: AdminOptions;
  #settings: AdminSettings;
  readonly #router: Router;
  readonly #server: Server;
  /** Aborts when the server stops, which ends streaming responses. */
  readonly #stopping = new AbortController();
  readonly #responding = new Set<Promise<void>>();
  /** Connections, oldest first. */
  readonly #sockets = new Set<Socket>();
  /** Requests in progress. */
  readonly #busy = new Map<Socket, number>();

  constructor(options: AdminOptions) {
    this.#options = options;
    this.#settings = options.settings;
    this.#router = routerOf(options.endpoints);
    // Each response in progress listens to it.
    setMaxListeners(0, this.#stopping.signal);
    this.#server = createServer(BOUNDS, (request, response) => {
      if (this.#requestsOf(request.socket) >= MAX_PIPELINED) return void request.socket.destroy();
      const answering = this.#respond(request, response).finally(() => this.#responding.delete(answering));
      this.#responding.add(answering);
    });
    this.#server.on('connection', (socket) => this.#admit(socket));
    this.#server.timeout = SILENCE_MS;
  }

  /** Address of the server in the form of `--admin`; absent while it does not listen. */
  get url(): string | undefined {
    const address = this.#server.address();
    const { host } = this.#settings.endpoint;
    // Node does not report the path of an inherited unix socket.
    if (address === null || typeof address === 'string') return this.#server.listening ? host : undefined;
    return `http://${formatEndpoint({ host: address.address, port: address.port })}`;
  }

  /** Whether this server listens on `endpoint`; port 0 matches any port. */
  serves({ host, port }: Endpoint): boolean {
    const { endpoint } = this.#settings;
    return endpoint.host === host && (port === 0 || endpoint.port === port);
  }

  /** Applies another token at the same address, to later requests. */
  use({ endpoint: _unchanged, ...settings }: AdminSettings): void {
    this.#settings = { ...settings, endpoint: this.#settings.endpoint };
  }

  /** Whether a dial to `to` would reach this server. */
  isAt(to: Endpoint): boolean {
    const address = this.#server.address();
    const { endpoint } = this.#settings;
    const port = address === null || typeof address === 'string' ? endpoint.port : address.port;
    return leadsTo(to, { host: endpoint.host, port });
  }

  /** Listens. Rejects with the system's error when the address cannot be bound. */
  async start(): Promise<void> {
    const { sockets } = this.#options;
    const { endpoint } = this.#settings;
    const path = unixPath(endpoint);
    const [inherited] = sockets?.claim(endpoint) ?? [];
    if (inherited !== undefined) {
      this.#server.listen({ fd: inherited.fd });
      await once(this.#server, 'listening');
    } else if (path === undefined) {
      this.#server.listen({ host: endpoint.host, port: endpoint.port });
      await once(this.#server, 'listening');
    } else {
      await listenOnSocket(this.#server, path);
    }
    // A failed accept, for example for lack of file descriptors, must not end the process.
    this.#server.on('error', (error) => this.#report(error));
  }

  /** The socket of this server, for a successor; none while it does not listen. */
  get held(): readonly InheritedSocket[] {
    const fd = descriptorOf(this.#server);
    const address = this.#server.address();
    if (fd === undefined) return [];
    const { host, port } = this.#settings.endpoint;
    const endpoint = { host, port: port === 0 && typeof address === 'object' ? (address?.port ?? port) : port };
    return [{ kind: 'admin', name: '', endpoint, fd }];
  }

  /**
   * Stops: finishes responses in progress, such as the one to `POST /drain`, and closes streams and idle connections.
   */
  async stop(signal: AbortSignal): Promise<void> {
    const { endpoint } = this.#settings;
    const isOwn = this.#server.listening && this.#options.sockets?.ownsPath(endpoint) !== false;
    const path = isOwn ? unixPath(endpoint) : undefined;
    await this.release(signal);
    if (path !== undefined) removePath(path);
  }

  /** Like {@link stop}, but leaves the path of a unix socket to the successor that keeps the socket. */
  async release(signal: AbortSignal): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#stopping.abort();
    await settlesWithin(Promise.allSettled(this.#responding), STOP_PATIENCE_MS, signal);
    this.#server.closeAllConnections();
    await closed;
  }

  /**
   * Limits connections, so that idle ones do not block probes. Above the limit, it closes the oldest connection that
   * has not sent a byte, else the oldest without a request in progress, such as those that a scraper keeps for reuse.
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

  #requestsOf(socket: Socket): number {
    return this.#busy.get(socket) ?? 0;
  }

  async #respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket } = request;
    this.#busy.set(socket, this.#requestsOf(socket) + 1);
    const gone = new AbortController();
    const stop = (): void => gone.abort();
    this.#stopping.signal.addEventListener('abort', stop, { once: true });
    response.once('close', () => {
      this.#stopping.signal.removeEventListener('abort', stop);
      const others = this.#requestsOf(socket) - 1;
      if (others === 0) this.#busy.delete(socket);
      else this.#busy.set(socket, others);
      gone.abort();
    });
    try {
      // Discards the body, which no request needs.
      request.resume();
      await write(await this.#responseTo(request, gone.signal), request.method === 'HEAD', response);
    } catch (reason) {
      this.#failed(reason, response);
    }
  }

  async #responseTo(request: IncomingMessage, signal: AbortSignal): Promise<AdminResponse> {
    const { method = '', url = '/', headers, headersDistinct } = request;
    // RFC 9112, section 3.2: requires a single header, because other software may use another one than this check.
    if ((headersDistinct['host']?.length ?? 0) > 1) return refusal(400, 'expected one Host header, found several');
    if (!this.#isOurs(headers.host))
      return refusal(403, `expected a Host header of this machine, found ${headers.host}`);
    const [pathname = '/', query = ''] = url.split('?', 2);
    const routed = this.#router(method, pathname);
    if (routed.kind === 'no such path') return refusal(404, `no such path: ${pathname}`);
    if (routed.kind === 'wrong method')
      return {
        ...refusal(405, `${pathname} has no method ${method}`),
        headers: { allow: routed.allow.join(', ') },
      };
    const { endpoint, parameters } = routed;
    const refused = endpoint.method === 'GET' ? undefined : await changeRefusal(this.#settings, headers);
    return (
      refused ?? endpoint.respond({ query: new URLSearchParams(query), parameters, accept: headers.accept, signal })
    );
  }

  /**
   * Whether `host` is a name of this machine. A page in a local browser can make its own name resolve to loopback (DNS
   * rebinding), and would read every response: on loopback, only addresses and `localhost` are accepted.
   */
  #isOurs(host: string | undefined): boolean {
    if (host === undefined || !isLoopback(this.#settings.endpoint.host)) return true;
    const name = host
      .replace(/:\d*$/, '')
      .replace(/^\[(.*)\]$/, '$1')
      .toLowerCase();
    return isIP(name) !== 0 || name === 'localhost' || name.endsWith('.localhost');
  }

  #failed(reason: unknown, response: ServerResponse): void {
    // The client has disconnected, or was too slow.
    if (response.destroyed || response.headersSent) return void response.destroy();
    this.#report(reason instanceof Error ? reason : new Error(String(reason)));
    response.writeHead(500, { 'content-type': JSON_TYPE }).end('{"error":"INTERNAL"}\n');
  }

  #report(error: Error): void {
    this.#options.observer.observe({ type: 'service.failed', service: this.name, error });
  }
}

async function write(result: AdminResponse, isHead: boolean, response: ServerResponse): Promise<void> {
  response.writeHead(result.status, {
    'content-type': 'json' in result ? JSON_TYPE : result.contentType,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...result.headers,
  });
  if (isHead) response.end();
  else await pipeline(bodyOf(result), response);
}

function bodyOf(result: AdminResponse): Readable {
  if ('json' in result) return jsonStream(result.json);
  // Does not read ahead of the client: newer data may replace data that has not been sent.
  return 'text' in result ? Readable.from([result.text]) : Readable.from(result.stream, { highWaterMark: 1 });
}

function refusal(status: number, error: string): AdminResponse & { readonly json: object } {
  return { status, json: { error } };
}

/** Room for some probes, scrapers and operators; more would use up the file descriptors of proxied connections. */
const MAX_CONNECTIONS = 64;
/**
 * Limit of concurrent requests on one connection. Node handles every request that it has read, a thousand in one read,
 * whether or not the client reads the responses.
 */
const MAX_PIPELINED = 4;
/** Time without progress after which a request or response is closed. */
const SILENCE_MS = 30_000;

/** Longer than a scrape, shorter than the stop timeout of a service manager. */
const STOP_PATIENCE_MS = 1_000;

/** Requests to the admin API have one line and a few headers. */
const BOUNDS = {
  maxHeaderSize: 8 * 1024,
  headersTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
  requestTimeout: 10_000,
  keepAliveTimeout: 5_000,
} as const;
