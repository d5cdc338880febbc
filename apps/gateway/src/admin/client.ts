import { readFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import type { ClientRequest, IncomingMessage, RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { text } from 'node:stream/consumers';
import { formatEndpoint, unixPath } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import type { AdminMethod } from './endpoint.ts';

/** Address of a gateway's admin API. */
export type AdminAddress = URL | { readonly socketPath: string };

/** Returns the address of an admin API that listens on `endpoint`. */
export function addressOf(endpoint: Endpoint): AdminAddress {
  const socketPath = unixPath(endpoint);
  return socketPath === undefined ? new URL(`http://${formatEndpoint(endpoint)}`) : { socketPath };
}

/**
 * A client of a gateway's admin API. Every call rejects with a message for operators when the gateway is unreachable or
 * rejects the request.
 */
export interface AdminClient {
  /** Returns the JSON response to `GET`. */
  get(path: string): Promise<unknown>;
  /**
   * Sends a changing request, and returns its JSON response.
   *
   * @param patienceMs response timeout in milliseconds; 10 s when absent
   */
  change(method: Exclude<AdminMethod, 'GET'>, path: string, patienceMs?: number): Promise<unknown>;
  /** Yields a streamed text response. Ends when `signal` aborts. */
  stream(path: string, signal: AbortSignal): AsyncIterable<string>;
}

/** Creates a client. @param tokenFile file with the token for changes; when absent none is sent */
export function adminClient(address: AdminAddress, tokenFile?: string): AdminClient {
  const name = address instanceof URL ? address.href : `unix:${address.socketPath}`;
  return {
    get: async (path) => jsonOf('GET', path, await request('GET', path)),
    change: async (method, path, patienceMs) => jsonOf(method, path, await request(method, path, { patienceMs })),
    async *stream(path, signal) {
      const response = await request('GET', path, { signal });
      response.setEncoding('utf8');
      for await (const chunk of response) yield chunk as string;
    },
  };

  async function jsonOf(method: AdminMethod, path: string, response: IncomingMessage): Promise<unknown> {
    const body = parsed(await text(response));
    if (isResponse(method, path, body)) return body;
    const found = body === undefined ? (response.headers['content-type'] ?? 'a body without a type') : 'other JSON';
    throw new Error(`${name} is not the admin API of a gateway: ${method} ${path} responded with ${found}`);
  }

  async function request(method: AdminMethod, path: string, options: Patience = {}): Promise<IncomingMessage> {
    const headers = tokenFile === undefined || method === 'GET' ? {} : { authorization: await bearer(tokenFile) };
    const response = await responseTo(address, path, { ...options, method, headers }).catch((reason: unknown) => {
      throw new Error(`no gateway at ${name}: ${messageOf(reason)}`);
    });
    if (response.statusCode !== undefined && response.statusCode < 300) return response;
    const { error, problems } = refusalIn(await text(response));
    const why = `${error}${response.statusCode === UNAUTHORIZED ? HOW_TO_AUTHORIZE : ''}`;
    const refusal = new Error(`${name}: ${method} ${path} responded with status ${response.statusCode}${why}`);
    throw Object.assign(refusal, { status: response.statusCode, problems });
  }
}

/** Members by which the response to a path, without its query, is recognized: another server may listen there. */
const MEMBERS: readonly (readonly [path: RegExp, member: string, isRight: (value: unknown) => boolean])[] = [
  [/^GET \/routes$/, 'routes', Array.isArray],
  [/^GET \/explain$/, 'found', (value) => typeof value === 'boolean'],
  [/^GET \/connections$/, 'connections', Array.isArray],
  [/^\w+ \/connections\/./, 'closed', Number.isInteger],
  [/^GET \/listeners$/, 'listeners', Array.isArray],
  [/^GET \/status$/, 'drain', (value) => typeof value === 'object' && value !== null],
  [/^\w+ \/drain$/, 'state', (value) => typeof value === 'string'],
  [/^POST \/reload$/, 'changes', Array.isArray],
  [/^GET \/reload$/, 'values', (value) => typeof value === 'object' && value !== null],
  [/^POST \/upgrade$/, 'pid', Number.isInteger],
  [/^\w+ \/log-level$/, 'level', (value) => typeof value === 'string'],
];

/** Whether a response may be that of a gateway to this request. */
function isResponse(method: AdminMethod, path: string, response: unknown): boolean {
  if (typeof response !== 'object' || response === null) return false;
  const request = `${method} ${path.replace(/\?.*/s, '')}`;
  const known = MEMBERS.find(([pattern]) => pattern.test(request));
  return known === undefined || known[2](Reflect.get(response, known[1]));
}

/** A local request takes milliseconds; a stream has data every few seconds. */
const SILENCE_MS = 10_000;

interface Patience {
  readonly signal?: AbortSignal | undefined;
  readonly patienceMs?: number | undefined;
}

interface AdminCall extends Patience {
  readonly method: AdminMethod;
  readonly headers: Readonly<Record<string, string>>;
}

function responseTo(address: AdminAddress, path: string, call: AdminCall): Promise<IncomingMessage> {
  const { patienceMs = SILENCE_MS, signal, ...rest } = call;
  const options = { ...rest, ...(signal !== undefined && { signal }), agent: false };
  const sent = address instanceof URL ? sentTo(address, path, options) : sentOverSocket(address, path, options);
  return new Promise((resolve, reject) => {
    sent.setTimeout(patienceMs, () => sent.destroy(new Error(`no response within ${patienceMs / 1_000} s`)));
    sent.once('error', reject);
    sent.once('response', resolve);
    sent.end();
  });
}

function sentTo(url: URL, path: string, options: RequestOptions): ClientRequest {
  const request = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return request(new URL(`${url.pathname.replace(/\/$/, '')}${path}`, url), options);
}

function sentOverSocket(
  { socketPath }: { readonly socketPath: string },
  path: string,
  options: RequestOptions,
): ClientRequest {
  return httpRequest({ ...options, socketPath, path });
}

async function bearer(tokenFile: string): Promise<string> {
  const token = await readFile(tokenFile, 'utf8').catch((reason: unknown) => {
    throw new Error(`token file ${tokenFile} cannot be read: ${messageOf(reason)}`, { cause: reason });
  });
  if (token.trim() === '') throw new Error(`expected a token in ${tokenFile}, found none`);
  // A token is one word of printable ASCII (RFC 6750, section 2.1).
  if (!/^[!-~]+$/.test(token.trim())) throw new Error(`expected one token in ${tokenFile}, found other text`);
  return `Bearer ${token.trim()}`;
}

/** RFC 9110, section 15.5.2. */
const UNAUTHORIZED = 401;
const HOW_TO_AUTHORIZE = ' (--token-file FILE)';

/** `undefined` if the text is not JSON. */
function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

/** Returns the message of an error response and each problem in it, as far as the body can be parsed. */
function refusalIn(body: string): { readonly error: string; readonly problems?: unknown } {
  try {
    const { error, problems } = Object(JSON.parse(body)) as { readonly error?: unknown; readonly problems?: unknown };
    return { error: typeof error === 'string' ? `: ${error}` : '', problems };
  } catch {
    return { error: '' };
  }
}

function messageOf(reason: unknown): string {
  // When all of several addresses fail, Node's error has the causes and no message.
  if (reason instanceof AggregateError) return reason.errors.map(messageOf).join('; ');
  if (!(reason instanceof Error)) return String(reason);
  return 'code' in reason && reason.code === 'EPROTO'
    ? 'it responds without TLS: http:// instead of https://'
    : reason.message;
}
