import { buildConnector, Pool } from 'undici';
import type { Dispatcher } from 'undici';
import { defined, errorOf } from '@meshgate/core/parts';
import { DEFAULT_ADDRESS, parseAgentAddress } from './agent-address.ts';
import type { AgentAddress } from './agent-address.ts';
import { ResponseReader } from './response-reader.ts';
import type { Body } from './response-reader.ts';
import { KnownLeaders } from './known-leaders.ts';
import { followingConnector, informingConnector, TlsFilesCheck } from './tls-files.ts';
import type { TlsFiles } from './tls-files.ts';
import { tokenReader } from './token.ts';
import type { TokenOptions } from './token.ts';

/** How to connect to the local Consul agent. */
export interface AgentOptions extends TokenOptions {
  /**
   * `http://127.0.0.1:8500`, `https://…`, `127.0.0.1:8500`, or `unix:///run/consul.sock`; the HTTP forms may have a
   * path, or `user:password@` for a reverse proxy in front of the agent. {@link DEFAULT_ADDRESS} when absent.
   */
  readonly address?: string;
  /** `user:password` for HTTP basic authentication; takes precedence over credentials in `address`. */
  readonly httpAuth?: string;
  /** Files for TLS, read again at each new connection. They take precedence over `ca`, `cert` and `key`. */
  readonly tls?: TlsFiles;
  /** Certificate authorities (PEM), one of which must have issued the agent's certificate; the system's when absent. */
  readonly ca?: string | readonly string[];
  /** Client certificate (PEM) for the agent, together with `key`. */
  readonly cert?: string;
  /** Private key (PEM) of `cert`. */
  readonly key?: string;
  /**
   * Called at each new connection with the expiry of the agent's certificate, and with that of the client certificate
   * if one is used.
   */
  onCertificate?(whose: 'agent' | 'client', validUntil: Date): void;
  /** Server name to send and to verify in the agent's certificate; the host of `address` when absent. */
  readonly tlsServerName?: string;
  /** Sent with every query when set. Only Consul Enterprise has namespaces and partitions. */
  readonly namespace?: string;
  /** Sent with every query when set, like `namespace`; the agent's own partition when absent. */
  readonly partition?: string;
}

/** A response with status 200, or with 404 where the request allows it. */
export interface AgentResponse {
  /** The body without the fields in `without`; equal strings mean equal responses. */
  readonly text: string;
  /** Size of the complete body in bytes. */
  readonly bytes: number;
  /** `X-Consul-Index`; absent for endpoints without blocking queries by index. */
  readonly index?: number;
  /** `X-Consul-ContentHash`, for endpoints with blocking queries by hash. */
  readonly hash?: string;
  /** Time of the response by the agent's clock, in whole seconds; absent without a `Date` header. */
  readonly date?: Date;
  /** The agent filtered out entries that the token may not read. Only newer releases report this. */
  readonly filtered: boolean;
  /**
   * The responding server has lost its leader (`X-Consul-KnownLeader: false`), or had no contact with it for long
   * (`X-Consul-LastContact`): its response may be older than earlier ones, and cannot be newer.
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
  /** Accepts a 404 as a response (`found: false`), not as an error. */
  readonly mayBeMissing?: boolean;
  /** Free-text fields, such as the output of checks: their values are dropped from the response. */
  readonly without?: readonly string[];
  /** Time for which the agent may hold a blocking query, in milliseconds; added to the timeout. */
  readonly holdMs?: number;
  /** Time limit besides `holdMs`, in milliseconds; 10 s when absent. */
  readonly timeoutMs?: number;
}

/** The agent is unreachable, rejects a request, or sends a response that is not in Consul's format. */
export class AgentError extends Error {
  override readonly name = 'AgentError';
  /** The HTTP status; absent without a response. */
  readonly status: number | undefined;
  /** The agent's own message, shortened; `''` without a response. */
  readonly complaint: string;
  /**
   * The message without the request, when there was no response: equal for all requests, so that it is reported once.
   */
  readonly unreachable: string | undefined;

  constructor(message: string, options: ErrorOptions & AgentErrorDetails = {}) {
    super(message, options);
    this.status = options.status;
    this.complaint = options.complaint ?? '';
    this.unreachable = options.unreachable;
  }
}

/** Whether the agent rejected the request because of its rate limit or overload, not because of the request itself. */
export function isOverload(reason: Error): boolean {
  return hasStatus(reason, TOO_MANY_REQUESTS, UNAVAILABLE);
}

/** Whether the agent does not have the endpoint, or the token may not use it. */
export function isDenied(reason: unknown): reason is AgentError {
  return hasStatus(reason, 403, 404);
}

/**
 * Whether the agent rejected the request because of its filter: Consul accepts any string in an entry, and reports only at
 * the query that it is invalid, with 400 or 500, depending on the version.
 */
export function isRefusedFilter(reason: unknown): reason is AgentError {
  return hasStatus(reason, 400, 500) && /boolean expression|selector|filter/i.test(reason.complaint);
}

/** Whether the agent responded with one of these HTTP statuses. */
export function hasStatus(reason: unknown, ...statuses: readonly number[]): reason is AgentError {
  return reason instanceof AgentError && reason.status !== undefined && statuses.includes(reason.status);
}

/**
 * Whether a proxy in front of the agent may have ended the request by its own timeout: by its status, or by a reset.
 */
export function isCut(reason: unknown): boolean {
  return hasStatus(reason, ...CUT_STATUSES) || (reason instanceof AgentError && isReset(reason.cause));
}

/** Returns the message of an error; equal for all requests when the agent does not respond. */
export function reasonOf(reason: unknown): string {
  const unreachable = reason instanceof AgentError ? reason.unreachable : undefined;
  return unreachable ?? errorOf(reason).message;
}

/** Free-text fields of checks and nodes: up to 4 KiB per check, and no route depends on them. */
export const FREE_TEXT: readonly string[] = ['Output', 'Notes'];

/** Request Timeout, Bad Gateway, Gateway Timeout. */
const CUT_STATUSES = [408, 502, 504] as const;
const TOO_MANY_REQUESTS = 429;
const UNAVAILABLE = 503;

/** Details of an {@link AgentError}, besides its message. */
type AgentErrorDetails = Partial<Pick<AgentError, 'status' | 'complaint' | 'unreachable'>>;

/** An HTTP client of the agent. Its creator must close it. */
export interface Agent {
  /** Sends a request. Rejects with an {@link AgentError}, or with the signal's reason once it aborts. */
  request(request: AgentRequest, signal: AbortSignal): Promise<AgentResponse>;
  /** Time of the last response, in milliseconds of the monotonic clock; 0 before the first. */
  readonly lastResponseAt: number;
  /**
   * Why entries missing from the last response may still exist: the response was stale. `undefined` when it was fresh.
   * Responses that do not tell are ignored.
   */
  readonly incompleteReason: string | undefined;
  /** Why the TLS files are not used, while earlier contents are; `undefined` while they are used. */
  readonly filesProblem: string | undefined;
  /** Closes all sockets at once; requests in flight reject. */
  close(): Promise<void>;
}

/**
 * Opens a client without connecting. Throws an {@link AgentError} when the address is invalid.
 *
 * @param sockets maximum number of connections; further requests wait for a free one
 * @param onChange called whenever `incompleteReason` or `filesProblem` changes
 */
export function openAgent(options: AgentOptions, sockets: number, onChange: () => void = () => undefined): Agent {
  const address = parseAgentAddress(options.address ?? DEFAULT_ADDRESS);
  if (address.kind === 'invalid') throw new AgentError(address.reason);
  const { prefix, shown: shownAddress } = address;
  const authorization = basicAuth(options.httpAuth ?? address.auth);
  const token = tokenReader(options);
  const pool = poolOf(options, address, sockets);
  const reader = new ResponseReader();
  let lastResponseAt = 0;
  const leaders = new KnownLeaders(onChange);
  const files = options.tls && new TlsFilesCheck(options.tls, onChange);
  return {
    request: respond,
    close: () => pool.destroy(),
    get lastResponseAt() {
      return lastResponseAt;
    },
    get incompleteReason() {
      return leaders.isLost ? STALE : undefined;
    },
    get filesProblem() {
      return files?.problem;
    },
  };

  async function respond(request: AgentRequest, signal: AbortSignal): Promise<AgentResponse> {
    try {
      await files?.inspect();
      const response = await send(request, signal);
      const { without = [], timeoutMs = RESPONSE_TIMEOUT_MS } = request;
      const body = await reader.read(response, { patienceMs: BODY_PATIENCE * timeoutMs, without });
      const result = { ...responseOf(request, response, body), stale: leaders.note(request.path, response.headers) };
      lastResponseAt = performance.now();
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
    return holdMs > 0 ? attempt() : repeatedAfterReset(attempt, signal);
  }
}

/**
 * Repeats a request once when the agent closed an idle connection as it was reused, which does not mean that the agent
 * is unhealthy. Not for blocking queries: that could take a minute without a response.
 */
async function repeatedAfterReset<T>(attempt: () => Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await attempt();
  } catch (reason) {
    if (signal.aborted || !isReset(reason)) throw reason;
    return attempt();
  }
}

/** @param agent address of the agent, for messages */
function notReached(agent: string, request: AgentRequest, why: string, cause: unknown): AgentError {
  const who = `Consul agent at ${agent}`;
  return new AgentError(`${who}: ${shown(request)}: ${why}`, { cause, unreachable: `${who}: ${why}` });
}

// A healthy agent answers the largest of these requests in 0.1 s; an agent without a leader holds requests for 7 s.
const RESPONSE_TIMEOUT_MS = 10_000;
const CONNECT_TIMEOUT_MS = 5_000;
// Factor by which the whole body may take longer than the request: the largest bodies arrive in parts.
const BODY_PATIENCE = 6;
const LONGEST_COMPLAINT = 300;

/** Formats a request for messages, with its datacenter. */
function shown({ path, query = {} }: AgentRequest): string {
  const datacenter = query['dc'] ?? query['compile-dc'];
  return datacenter === undefined ? `/v1/${path}` : `/v1/${path} of ${datacenter}`;
}

function responseOf(request: AgentRequest, response: Dispatcher.ResponseData, { text, bytes }: Body): AgentResponse {
  const { mayBeMissing = false } = request;
  const { statusCode: status, headers } = response;
  if (status !== 200 && !(status === 404 && mayBeMissing)) {
    const complaint = text.trim().slice(0, LONGEST_COMPLAINT);
    const hint = /HTTP request (?:to an HTTPS server|was sent to HTTPS port)/.test(complaint) ? 'try https://' : '';
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

/**
 * Returns `result`, for callers that keep their last value when a query fails.
 *
 * @throws AgentError when the response is stale, see {@link AgentResponse}
 */
export function fresh(result: AgentResponse): AgentResponse {
  if (!result.stale) return result;
  throw new AgentError(STALE, { unreachable: STALE });
}

const STALE =
  'the Consul server has no leader, or no contact with it for more than 10 s: keeping entries missing in its response';

/** Reports a redirect, which is not followed: an agent never redirects, and the token must not go to another server. */
function redirection(location: string | string[] | undefined): string {
  return location === undefined ? '' : `, a redirect to ${String(location).slice(0, LONGEST_COMPLAINT)}`;
}

/** What an endpoint responds. */
export interface ResponseFormat<T> {
  /** Below `/v1/`. */
  readonly path: string;
  /** The expected value, for messages: `a list of services`. */
  readonly expected: string;
  /** Receives `undefined` for a body that is not JSON; returns `undefined` for an unexpected format. */
  readonly read: (json: unknown) => T | undefined;
}

/** A request whose response is parsed. */
export interface ParsedRequest<T> extends AgentRequest, ResponseFormat<T> {
  /** When false, a stale response is an error, for callers that keep their last value; true when absent. */
  readonly mayBeStale?: boolean;
}

/** Sends a request, and parses its response. @throws AgentError also when the format is unexpected */
export async function parsedResponse<T>(agent: Agent, request: ParsedRequest<T>, signal: AbortSignal): Promise<T> {
  const response = await agent.request(request, signal);
  return parsed(request.mayBeStale === false ? fresh(response) : response, request);
}

/** Parses the JSON of a response. @throws AgentError when the format is unexpected */
export function parsed<T>({ text }: Pick<AgentResponse, 'text'>, { path, expected, read }: ResponseFormat<T>): T {
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

/** Explains why the agent is unreachable, in place of library messages that do not name the cause. */
function whyUnreachable(reason: unknown, { address = '', cert, tls }: AgentOptions): string {
  const code = String(codeOf(reason));
  const inWords = REASONS[code];
  if (inWords !== undefined) return inWords;
  const words = reason instanceof Error ? reason.message || reason.name : String(reason);
  const isWithoutCertificate = address.startsWith('https:') && cert === undefined && tls?.certFile === undefined;
  // With TLS 1.3, a server rejects a missing client certificate after the handshake, and may close before the client
  // reads the alert.
  const mayWantOne = isWithoutCertificate && (isReset(reason) || code.startsWith('ERR_SSL_'));
  return mayWantOne ? `${words}: the agent may require a client certificate (certFile, keyFile)` : words;
}

const REASONS: Readonly<Record<string, string>> = {
  // OpenSSL's message begins with a number and ends with a function name.
  ERR_SSL_WRONG_VERSION_NUMBER: 'expected TLS, found another protocol: try http://',
  UND_ERR_HEADERS_TIMEOUT: 'connected, but no response in time',
  UND_ERR_BODY_TIMEOUT: 'the response ended early',
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
    ...defined({ socketPath }),
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

/** Authenticates to a reverse proxy in front of the agent (RFC 7617); Consul itself has only tokens. */
function basicAuth(auth: string | undefined): Readonly<Record<string, string>> {
  return auth === undefined ? {} : { authorization: `Basic ${Buffer.from(auth).toString('base64')}` };
}

function tlsOf({ ca, cert, key, tlsServerName }: AgentOptions): object {
  return {
    // Overrides the environment's `NODE_TLS_REJECT_UNAUTHORIZED`.
    rejectUnauthorized: true,
    // As in Go: each given certificate is a trust anchor, even one that another authority issued.
    allowPartialTrustChain: true,
    ...defined({ ca: typeof ca === 'object' ? [...ca] : ca, cert, key, servername: tlsServerName }),
  };
}

/** Omits unset parameters, since the community edition responds to a namespace with 400. */
function scopeOf({ namespace, partition }: AgentOptions): Record<string, string> {
  return { ...(namespace ? { ns: namespace } : {}), ...(partition ? { partition } : {}) };
}
