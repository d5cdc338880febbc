import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { responseOf } from './responses.ts';
import type { StandInResponse, StandInRequest } from './responses.ts';
import { playFault } from './faults.ts';
import type { StandInFault } from './faults.ts';
import type { StandInMesh } from './mesh.ts';
import { traitsOf } from './versions.ts';
import type { ConsulVersion, VersionTraits } from './versions.ts';

/** Initial settings of a {@link StandInAgent}. */
export interface StandInAgentOptions {
  /** The version that it plays; `1.16` when absent. */
  readonly version?: ConsulVersion;
  /** Its data; a single server when absent. */
  readonly mesh?: StandInMesh;
  /**
   * Prepared responses that override those generated from `mesh`, for example recorded ones: by `PATH?QUERY`, otherwise
   * by `PATH`, both below `/v1/`.
   */
  readonly responses?: Readonly<Record<string, unknown>>;
  /**
   * Endpoints that the token may not read: by path, or by a prefix that ends in `*`. A string is the missing
   * permission, answered with 403; `filtered` is an empty list with status 200, as Consul returns for lists.
   */
  readonly denied?: Readonly<Record<string, string>>;
  /** A proxy in front of the agent, which ends queries that block for longer than `ms`. None when absent. */
  readonly holdsAtMost?: { readonly ms: number; readonly fault: StandInFault };
}

/** Plays a Consul agent on loopback over HTTP. Disposing of it closes every connection. */
export interface StandInAgent extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`. */
  readonly address: string;
  /** Every request so far, in order of arrival: `GET peerings?index=7&wait=30s`. */
  readonly requests: readonly string[];
  /** Services registered at this agent, by id, as received. */
  readonly registered: ReadonlyMap<string, unknown>;
  /** Number of queries that are blocking. */
  readonly held: number;
  /** Number of open connections. */
  readonly connections: number;
  /** Replaces the data: blocking queries whose result has changed return. */
  change(mesh: StandInMesh): void;
  /** Replaces the prepared responses, see `StandInAgentOptions.responses`. */
  respond(responses: Readonly<Record<string, unknown>>): void;
  /** Replaces the permissions, see `StandInAgentOptions.denied`. */
  deny(denied: Readonly<Record<string, string>>): void;
  /**
   * Applies a fault from now on, also to blocking queries; `undefined` ends it. Responses that an earlier fault keeps
   * open are aborted.
   *
   * @param on selects the affected paths, below `/v1/` and without query; all when absent
   */
  misbehave(fault: StandInFault | undefined, on?: (path: string) => boolean): void;
}

/** Starts a stand-in for a Consul agent, with blocking queries, permissions, missing endpoints, faults on demand. */
export async function standInAgent(options: StandInAgentOptions = {}): Promise<StandInAgent> {
  const agent = new PlayedAgent(options);
  await agent.start();
  return agent;
}

/** A query that waits for a changed response. */
interface Held {
  readonly outgoing: ServerResponse;
  readonly request: StandInRequest;
  /** The response that the client already has. */
  readonly known: string;
}

/** A response with the index of its last change. */
interface Versioned extends StandInResponse {
  readonly text: string;
  readonly index: number;
}

class PlayedAgent implements StandInAgent {
  readonly requests: string[] = [];
  readonly registered = new Map<string, unknown>();
  readonly #server: Server;
  readonly #traits: VersionTraits;
  readonly #holdsAtMost: StandInAgentOptions['holdsAtMost'];
  readonly #responses = new Map<string, readonly Versioned[]>();
  readonly #held = new Set<Held>();
  /** Responses that a fault keeps open. */
  readonly #open = new Set<ServerResponse>();
  #mesh: StandInMesh;
  #prepared: Readonly<Record<string, unknown>>;
  #denied: Readonly<Record<string, string>>;
  #fault: { readonly fault: StandInFault; readonly on: (path: string) => boolean } | undefined;
  // Consul's own first writes use the first indexes.
  #index = 10;
  #connections = 0;

  constructor({ version = '1.16', mesh = {}, responses = {}, denied = {}, holdsAtMost }: StandInAgentOptions) {
    this.#holdsAtMost = holdsAtMost;
    this.#traits = traitsOf(version);
    this.#mesh = mesh;
    this.#prepared = responses;
    this.#denied = denied;
    this.#server = createServer((incoming, outgoing) => void this.#receive(incoming, outgoing));
    this.#server.on('connection', (socket) => {
      this.#connections += 1;
      socket.once('close', () => (this.#connections -= 1));
    });
  }

  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get address(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get held(): number {
    return this.#held.size;
  }

  get connections(): number {
    return this.#connections;
  }

  change(mesh: StandInMesh): void {
    this.#mesh = mesh;
    this.#changed();
  }

  respond(responses: Readonly<Record<string, unknown>>): void {
    this.#prepared = responses;
    this.#changed();
  }

  deny(denied: Readonly<Record<string, string>>): void {
    this.#denied = denied;
    this.#changed();
  }

  misbehave(fault: StandInFault | undefined, on: (path: string) => boolean = () => true): void {
    this.#fault = fault === undefined ? undefined : { fault, on };
    for (const outgoing of this.#open) outgoing.destroy();
    for (const held of this.#held)
      if (on(held.request.path)) {
        this.#held.delete(held);
        this.#send(held.request, held.outgoing);
      }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  #changed(): void {
    this.#index += 1;
    for (const held of this.#held)
      if (this.#current(held.request).text !== held.known) {
        this.#held.delete(held);
        this.#send(held.request, held.outgoing);
      }
  }

  async #receive(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { pathname, searchParams, search } = new URL(incoming.url ?? '/', 'http://agent');
    const path = pathname.replace(/^\/v1\//, '');
    const method = incoming.method ?? 'GET';
    this.requests.push(`${method} ${path}${search}`);
    const sent = await text(incoming).catch(() => '');
    const request = {
      method,
      path,
      query: searchParams,
      body: sent === '' ? undefined : (JSON.parse(sent) as unknown),
    };
    if (this.#isHeldFor(request)) this.#hold(request, outgoing);
    else this.#send(request, outgoing);
  }

  /** Whether a query must block, by index or by hash, as in Consul's endpoints. */
  #isHeldFor(request: StandInRequest): boolean {
    const { method, query, path } = request;
    const fault = this.#faultFor(path);
    if ((method !== 'GET' && method !== 'POST') || (fault !== undefined && fault.kind !== 'empty')) return false;
    const current = this.#current(request);
    if (current.unheld === true) return false;
    const hash = query.get('hash');
    if (hash !== null) return hash === hashOf(current);
    return Number(query.get('index') ?? 0) >= current.index + (fault === undefined ? 0 : 1);
  }

  #hold(request: StandInRequest, outgoing: ServerResponse): void {
    const held: Held = { request, outgoing, known: this.#current(request).text };
    this.#held.add(held);
    const [requestedMs, limit] = [waitMs(request.query.get('wait')), this.#holdsAtMost];
    const onTime = (): void => {
      if (!this.#held.delete(held)) return;
      if (limit === undefined || requestedMs <= limit.ms) this.#send(request, outgoing);
      else playFault(limit.fault, outgoing);
    };
    const timer = setTimeout(onTime, Math.min(requestedMs, limit?.ms ?? requestedMs));
    outgoing.once('close', () => {
      clearTimeout(timer);
      this.#held.delete(held);
    });
  }

  #faultFor(path: string): StandInFault | undefined {
    return this.#fault?.on(path) === true ? this.#fault.fault : undefined;
  }

  #send(request: StandInRequest, outgoing: ServerResponse): void {
    const fault = this.#faultFor(request.path);
    if (fault !== undefined && playFault(fault, outgoing)) {
      this.#open.add(outgoing);
      outgoing.once('close', () => this.#open.delete(outgoing));
      return;
    }
    this.#setLeader(request, outgoing, fault);
    const [current, before = current] = [this.#current(request), this.#before(request)];
    if (fault?.kind === 'older') write(outgoing, { ...before, index: Math.min(before.index, current.index - 1) });
    else if (fault?.kind === 'empty') write(outgoing, { ...current, ...emptied(current), index: current.index + 1 });
    else if (fault?.kind === 'delay') {
      const timer = setTimeout(() => write(outgoing, current), fault.ms);
      outgoing.once('close', () => clearTimeout(timer));
    } else write(outgoing, current);
  }

  /**
   * Sets the leader headers as Consul does: for responses from its cache or from a stream, an agent reports no leader
   * although there is one.
   */
  #setLeader({ path, query }: StandInRequest, outgoing: ServerResponse, fault: StandInFault | undefined): void {
    const isCached = path.startsWith('agent/');
    const isStreamed = this.#traits.streamsHealth && path.startsWith('health/') && query.has('index');
    const leader = fault !== undefined && 'leader' in fault ? fault.leader : undefined;
    if (isCached) outgoing.setHeader('X-Cache', 'MISS');
    if (isStreamed) outgoing.setHeader('X-Consul-Query-Backend', 'streaming');
    outgoing.setHeader('X-Consul-KnownLeader', String(!isCached && !isStreamed && leader !== 'none'));
    outgoing.setHeader('X-Consul-LastContact', leader === 'silent' ? '20000' : '0');
  }

  #current(request: StandInRequest): Versioned {
    if (request.method === 'PUT') return versioned(this.#written(request), this.#index);
    const key = keyOf(request);
    const response = this.#judge(request);
    const next = versioned(response, this.#index);
    const known = this.#responses.get(key) ?? [];
    const last = known.at(-1);
    if (last?.text === next.text && last.status === next.status && last.filtered === next.filtered) return last;
    this.#responses.set(key, [...known.slice(-1), next]);
    return next;
  }

  #before(request: StandInRequest): Versioned | undefined {
    const known = this.#responses.get(keyOf(request)) ?? [];
    return known.length > 1 ? known[0] : undefined;
  }

  #judge(request: StandInRequest): StandInResponse {
    const { path } = request;
    const [, permission] = Object.entries(this.#denied).find(([pattern]) => matches(pattern, path)) ?? [];
    if (permission === 'filtered') return { status: 200, body: [], filtered: true };
    if (permission !== undefined)
      return {
        status: 403,
        body: `Permission denied: token with AccessorID '${ACCESSOR}' lacks permission '${permission}'`,
      };
    const prepared = this.#prepared[keyOf(request)] ?? this.#prepared[path];
    if (prepared !== undefined) return { status: 200, body: prepared };
    return this.#own(path) ?? responseOf(request, this.#mesh, this.#traits);
  }

  /** Returns the responses about services registered at this agent. */
  #own(path: string): StandInResponse | undefined {
    if (path === 'agent/services') return { status: 200, body: Object.fromEntries(this.registered), unheld: true };
    const [, id] = /^agent\/service\/([^/]+)$/.exec(path) ?? [];
    if (id === undefined) return undefined;
    const service = this.registered.get(decodeURIComponent(id));
    if (service !== undefined) return { status: 200, body: service };
    return { status: 404, body: `unknown service ID: ${id}`, unheld: true };
  }

  #written({ path, body }: StandInRequest): StandInResponse {
    const [, verb, id = ''] = /^agent\/service\/(register|deregister)(?:\/(.+))?$/.exec(path) ?? [];
    if (verb === 'register') {
      const service = body as { readonly Name: string; readonly ID?: string };
      this.registered.set(service.ID ?? service.Name, { ...service, Service: service.Name });
      this.#changed();
    }
    const isKnown = verb !== 'deregister' || this.registered.delete(decodeURIComponent(id));
    if (isKnown || !this.#traits.refusesUnknownDeregistration) return { status: 200, body: '' };
    return {
      status: 404,
      body: `Unknown service ID ${JSON.stringify(id)}. Ensure that the service ID is passed, not the service name.`,
    };
  }
}

const ACCESSOR = '00000000-0000-0000-0000-000000000002';

/** Returns the query without the parameters of blocking queries. */
function keyOf({ path, query }: StandInRequest): string {
  const rest = new URLSearchParams(query);
  for (const name of ['index', 'wait', 'hash', 'stale', 'cached']) rest.delete(name);
  return rest.size === 0 ? path : `${path}?${decodeURIComponent(rest.toString())}`;
}

function matches(pattern: string, path: string): boolean {
  return pattern.endsWith('*') ? path.startsWith(pattern.slice(0, -1)) : pattern === path;
}

function versioned(response: StandInResponse, index: number): Versioned {
  const body = typeof response.body === 'string' ? response.body : JSON.stringify(response.body);
  return { ...response, text: body, index };
}

function emptied({ text: body }: Versioned): Pick<Versioned, 'text' | 'status'> {
  return { status: 200, text: body.startsWith('{') ? '{}' : '[]' };
}

function write(outgoing: ServerResponse, { status, text: body, index, unheld, filtered }: Versioned): void {
  if (unheld !== true) outgoing.setHeader('X-Consul-Index', String(index));
  if (filtered === true) outgoing.setHeader('X-Consul-Results-Filtered-By-ACLs', 'true');
  outgoing.setHeader('X-Consul-Contenthash', String(index));
  outgoing.writeHead(status).end(body);
}

function hashOf({ index }: Versioned): string {
  return String(index);
}

/** Parses a duration in Go's format: `30s`, `5m`. Consul's default of five minutes when absent. */
function waitMs(wait: string | null): number {
  const [, amount = '5', unit = 'm'] = /^(\d+)(ms|s|m)$/.exec(wait ?? '') ?? [];
  return Number(amount) * { ms: 1, s: 1_000, m: 60_000 }[unit as 'ms' | 's' | 'm'];
}
