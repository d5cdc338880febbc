import { buildConnector, Pool } from 'undici';
import type { Dispatcher } from 'undici';
import { errorOf } from '@meshgate/core/parts';
import { DEFAULT_ADDRESS, parseAgentAddress } from './agent-address.ts';
import type { AgentAddress } from './agent-address.ts';
import { ResponseReader } from './response-reader.ts';
import type { Body } from './response-reader.ts';
import { KnownLeaders } from './known-leaders.ts';
import { followingConnector, informingConnector } from './tls-files.ts';
import type { TlsFiles } from './tls-files.ts';
import { tokenReader } from './token.ts';
import type { TokenOptions } from './token.ts';

/** How to reach the local Consul agent. */
export interface AgentOptions extends TokenOptions {
  /**
   * `http://127.0.0.1:8500`, `https://…`, `127.0.0.1:8500`, or `unix:///run/consul.sock`; the HTTP forms may have a path, or
   * `user:password@` for a proxy in front of the agent. {@link DEFAULT_ADDRESS} when absent.
   */
  readonly address?: string;
  /** `user:password` for HTTP basic authentication; takes precedence over that in `address`. */
  readonly httpAuth?: string;
  /** Files for TLS, read again at each new connection. They take precedence over `ca`, `cert` and `key`. */
  readonly tls?: TlsFiles;
  /** Certificate authorities (PEM) that must have issued the agent's certificate; the system's when absent. */
  readonly ca?: string | readonly string[];
  /** Client certificate (PEM) to show to the agent, with its key. */
  readonly cert?: string;
  /** Private key (PEM) of `cert`. */
  readonly key?: string;
  /** Told, at each new connection, when a certificate expires: that of the agent, and the one that is shown to it. */
  onCertificate?(whose: 'agent' | 'client', validUntil: Date): void;
  /** Server name to request and to verify in the agent's certificate, when it is not the address. */
  readonly tlsServerName?: string;
  /** Sent with every query when set. Only Consul Enterprise knows namespaces and partitions. */
  readonly namespace?: string;
  /** Sent with every query when set, like `namespace`; else the agent answers for its own. */
  readonly partition?: string;
}

/** A response with status 200, or 404 where that is allowed. */
export interface AgentResponse {
  /** The body without the fields in `without`: equal strings are equal responses. */
  readonly text: string;
  /** The size of the body in bytes, before anything was dropped from it. */
  readonly bytes: number;
  /** `X-Consul-Index`; absent where an endpoint does not block by index. */
  readonly index?: number;
  /** `X-Consul-ContentHash`: for the endpoints that block by hash. */
  readonly hash?: string;
  /** The agent's clock when it answered, to the second; absent where it does not say. */
  readonly date?: Date;
  /** The agent filtered out what the token may not see. Only newer releases report it. */
  readonly filtered: boolean;
  /**
   * The server that answered knows no leader any more (`X-Consul-KnownLeader: false`), or had no contact with it for long
   * (`X-Consul-LastContact`): what it says may be older than what is known, and cannot be newer.
   */
  readonly stale: boolean;
  /** False for a 404, which only a request with `mayBeMissing` accepts. */
  readonly found: boolean;
}

/** One request. */
export interface AgentRequest {
  /** `GET` when absent. */
  readonly method?: 'GET' | 'POST' | 'PUT';
  /** Below `/v1/`, without a question mark. */
  readonly path: string;
  /** Parameters of the URL, not yet encoded. */
  readonly query?: Readonly<Record<string, string>>;
  /** Sent as JSON; nothing is sent when absent. */
  readonly body?: unknown;
  /** A 404 is a response (`found: false`), not an error. */
  readonly mayBeMissing?: boolean;
  /** Free text fields, such as the output of checks, that are not needed: their values are dropped from the response. */
  readonly without?: readonly string[];
  /** How long the agent may block the query, in milliseconds: added to the timeout. */
  readonly holdMs?: number;
  /** Time limit in addition to that, in milliseconds; 10 s when absent. */
  readonly timeoutMs?: number;
}

/** The agent is unreachable, refuses, or its response does not have Consul's format. */
export class AgentError extends Error {
  override readonly name = 'AgentError';
  /** The HTTP status; absent without a response. */
  readonly status: number | undefined;
  /** The agent's own message, shortened; `''` without a response. */
  readonly complaint: string;
  /** The message without the request, when there was no response: the same for all requests, so that it is reported once. */
  readonly unreachable: string | undefined;

  constructor(message: string, options: ErrorOptions & AgentErrorDetails = {}) {
    super(message, options);
    this.status = options.status;
    this.complaint = options.complaint ?? '';
    this.unreachable = options.unreachable;
  }
}

/** Whether the agent rejects because of its rate limit: the request itself is fine. */
export function isOverload(reason: Error): boolean {
  return reason instanceof AgentError && (reason.status === TOO_MANY_REQUESTS || reason.status === UNAVAILABLE);
}

/** In words; the same for all requests when there was no response. */
export function reasonOf(reason: unknown): string {
  const unreachable = reason instanceof AgentError ? reason.unreachable : undefined;
  return unreachable ?? (reason instanceof Error ? reason.message : String(reason));
}

/** Free text in checks and nodes: up to 4 KiB for each check, and no route depends on it. */
export const FREE_TEXT: readonly string[] = ['Output', 'Notes'];

const TOO_MANY_REQUESTS = 429;
const UNAVAILABLE = 503;

/** Details of an {@link AgentError} besides its message. */
type AgentErrorDetails = Partial<Pick<AgentError, 'status' | 'complaint' | 'unreachable'>>;

/** A client of the agent. Its creator closes it. */
export interface Agent {
  /** Rejects with an {@link AgentError}, or with the signal's reason once it aborts. */
  request(request: AgentRequest, signal: AbortSignal): Promise<AgentResponse>;
  /** When it last responded, in milliseconds of the monotonic clock; 0 when it never has. */
  readonly lastResponseAt: number;
  /** Why its last response takes nothing away, in words: it was stale. `undefined` when it was not. */
  readonly incompleteReason: string | undefined;
  /** Closes every socket at once; requests in flight reject. */
  close(): Promise<void>;
}

/**
 * Opens a client. Throws an {@link AgentError} when the address is invalid; nothing is connected yet.
 *
 * @param sockets maximum number of connections: further requests wait for a free one
 */
export function openAgent(options: AgentOptions, sockets: number): Agent {
  const address = parseAgentAddress(options.address ?? DEFAULT_ADDRESS);
  if (address.kind === 'invalid') throw new AgentError(address.reason);
  const { prefix, shown: shownAddress } = address;
  const authorization = basicAuth(options.httpAuth ?? address.auth);
  const token = tokenReader(options);
  const pool = poolOf(options, address, sockets);
  const reader = new ResponseReader();
  let lastResponseAt = 0;
  const leaders = new KnownLeaders();
  let incompleteReason: string | undefined;
  return {
    request: respond,
    close: () => pool.destroy(),
    get lastResponseAt() {
      return lastResponseAt;
    },
    get incompleteReason() {
      return incompleteReason;
    },
  };

  async function respond(request: AgentRequest, signal: AbortSignal): Promise<AgentResponse> {
    try {
      const response = await send(request, signal);
      const { without = [], timeoutMs = RESPONSE_TIMEOUT_MS } = request;
      const body = await reader.read(response, { patienceMs: BODY_PATIENCE * timeoutMs, without });
      const result = { ...responseOf(request, response, body), stale: leaders.isLost(request.path, response.headers) };
      lastResponseAt = performance.now();
      incompleteReason = result.stale ? STALE : undefined;
      return result;
    } catch (reason) {
      signal.throwIfAborted();
      throw reason instanceof AgentError
        ? reason
        : notReached(shownAddress, request, whyUnreachable(reason, options), reason);
    }
  }

  async function send(request: AgentRequest, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    const { method = 'GET', path, query = {}, body, holdMs = 0, timeoutMs = RESPONSE_TIMEOUT_MS } = request;
    const secret = await token().catch((cause: unknown) => {
      const reason = errorOf(cause).message;
      throw new AgentError(reason, { cause, unreachable: reason });
    });
    const attempt = (): Promise<Dispatcher.ResponseData> =>
      pool.request({
        method,
        path: `${prefix}/v1/${path}`,
        query: { ...scopeOf(options), ...query },
        headers: { ...authorization, ...(secret === undefined ? {} : { 'x-consul-token': secret }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        headersTimeout: timeoutMs + holdMs,
        bodyTimeout: RESPONSE_TIMEOUT_MS,
        signal,
      });
    return attempt().catch((reason: unknown) => {
      // The agent may close an idle connection in the moment in which it is reused: that says nothing about its health. A blocking
      // query is different: repeating it could mean a minute of silence.
      if (signal.aborted || holdMs > 0 || !isReset(reason)) throw reason;
      return attempt();
    });
  }
}

/** @param agent its address, for people */
function notReached(agent: string, request: AgentRequest, why: string, cause: unknown): AgentError {
  const who = `Consul agent at ${agent}`;
  return new AgentError(`${who}: ${shown(request)}: ${why}`, { cause, unreachable: `${who}: ${why}` });
}

// A healthy agent responds to the largest of these requests in a tenth of a second; one without a leader holds them for 7 s.
const RESPONSE_TIMEOUT_MS = 10_000;
const CONNECT_TIMEOUT_MS = 5_000;
// How many times longer the whole body may take than its beginning: the largest arrive in parts.
const BODY_PATIENCE = 6;
const LONGEST_COMPLAINT = 300;

/** A request as it is shown: the datacenter is part of it. */
function shown({ path, query = {} }: AgentRequest): string {
  const datacenter = query['dc'] ?? query['compile-dc'];
  return datacenter === undefined ? `/v1/${path}` : `/v1/${path} of ${datacenter}`;
}

function responseOf(request: AgentRequest, response: Dispatcher.ResponseData, { text, bytes }: Body): AgentResponse {
  const { mayBeMissing = false } = request;
  const { statusCode: status, headers } = response;
  if (status !== 200 && !(status === 404 && mayBeMissing)) {
    const complaint = text.trim().slice(0, LONGEST_COMPLAINT);
    const hint = /HTTP request (?:to an HTTPS server|was sent to HTTPS port)/.test(complaint)
      ? 'https:// may be meant'
      : '';
    const found = [`${status}${redirection(headers['location'])}`, complaint, hint]
      .filter((part) => part !== '')
      .join(': ');
    throw new AgentError(`Consul agent: ${shown(request)}: expected status 200, found ${found}`, {
      status,
      complaint,
    });
  }
  const index = Number(headers['x-consul-index']);
  const hash = headers['x-consul-contenthash'];
  return {
    text,
    bytes,
    ...(Number.isSafeInteger(index) && index >= 0 ? { index } : {}),
    ...(typeof hash === 'string' ? { hash } : {}),
    ...(typeof headers['date'] === 'string' ? { date: new Date(headers['date']) } : {}),
    filtered: headers['x-consul-results-filtered-by-acls'] === 'true',
    stale: false,
    found: status === 200,
  };
}

/** A response for those who keep what they knew when they are refused. @throws AgentError when it is stale, see {@link AgentResponse} */
export function fresh(result: AgentResponse): AgentResponse {
  if (!result.stale) return result;
  throw new AgentError(STALE, { unreachable: STALE });
}

const STALE =
  'the Consul server knows no leader, or had no contact with it for more than 10 s: keeping what it no longer shows';

/** An agent never redirects, and the token must not go elsewhere: redirects are reported, not followed. */
function redirection(location: string | string[] | undefined): string {
  return location === undefined ? '' : `, a redirect to ${String(location).slice(0, LONGEST_COMPLAINT)}`;
}

/**
 * Parses the JSON of a response with `read`.
 *
 * @param read returns `undefined` for an unexpected format
 */
export function parsed<T>(
  { text }: Pick<AgentResponse, 'text'>,
  path: string,
  expected: string,
  read: (json: unknown) => T | undefined,
): T {
  const value = read(jsonOf(text));
  if (value !== undefined) return value;
  throw new AgentError(`Consul agent: /v1/${path}: expected ${expected}, found ${text.slice(0, 80) || 'nothing'}`);
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** In words, where those of a library do not say what has happened. */
function whyUnreachable(reason: unknown, { address = '', cert, tls }: AgentOptions): string {
  const code = String(codeOf(reason));
  const inWords = REASONS[code];
  if (inWords !== undefined) return inWords;
  const words = reason instanceof Error ? reason.message || reason.name : String(reason);
  const isWithoutCertificate = address.startsWith('https:') && cert === undefined && tls?.certFile === undefined;
  // By TLS 1.3 a server says so behind the handshake, and may close before that is read.
  const mayWantOne = isWithoutCertificate && (isReset(reason) || code.startsWith('ERR_SSL_'));
  return mayWantOne ? `${words}: the agent may require a client certificate (certFile, keyFile)` : words;
}

const REASONS: Readonly<Record<string, string>> = {
  // It begins with a number and ends with the name of a function of OpenSSL.
  ERR_SSL_WRONG_VERSION_NUMBER: 'expected TLS, found another protocol: http:// may be meant',
  UND_ERR_HEADERS_TIMEOUT: 'connected, but no response in time',
  UND_ERR_BODY_TIMEOUT: 'the response stopped before its end',
  UND_ERR_CONNECT_TIMEOUT: 'no connection within 5 s: a firewall may drop packets',
};

function codeOf(reason: unknown): unknown {
  return reason instanceof Error && 'code' in reason ? reason.code : undefined;
}

function isReset(reason: unknown): boolean {
  const code = codeOf(reason);
  return code === 'ECONNRESET' || code === 'EPIPE' || code === 'UND_ERR_SOCKET';
}

function poolOf(options: AgentOptions, { origin, socketPath }: ReachableAddress, sockets: number): Pool {
  const connect = {
    ...tlsOf(options),
    ...(socketPath === undefined ? {} : { socketPath }),
    timeout: CONNECT_TIMEOUT_MS,
  };
  const connector = options.tls === undefined ? buildConnector(connect) : followingConnector(options.tls, connect);
  const { onCertificate } = options;
  return new Pool(origin, {
    connections: sockets,
    connect: onCertificate === undefined ? connector : informingConnector(connector, onCertificate),
  });
}

type ReachableAddress = Extract<AgentAddress, { readonly kind: 'address' }>;

/** For a proxy in front of the agent (RFC 7617): Consul itself has tokens only. */
function basicAuth(auth: string | undefined): Readonly<Record<string, string>> {
  return auth === undefined ? {} : { authorization: `Basic ${Buffer.from(auth).toString('base64')}` };
}

function tlsOf({ ca, cert, key, tlsServerName }: AgentOptions): object {
  return {
    // Whatever the environment says (`NODE_TLS_REJECT_UNAUTHORIZED`).
    rejectUnauthorized: true,
    // As in Go: every given certificate is a trust anchor, also if another authority issued it.
    allowPartialTrustChain: true,
    ...(ca === undefined ? {} : { ca: typeof ca === 'string' ? ca : [...ca] }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(tlsServerName === undefined ? {} : { servername: tlsServerName }),
  };
}

/** Omitted unless set: the community edition responds with 400 to a namespace. */
function scopeOf({ namespace, partition }: AgentOptions): Record<string, string> {
  return { ...(namespace ? { ns: namespace } : {}), ...(partition ? { partition } : {}) };
}
