import { formatDuration } from '../duration.ts';
import { ProxyError } from '../errors.ts';
import { formatEndpoint } from './endpoint.ts';
import type { Endpoint } from './endpoint.ts';

/** Codes with which a dial can fail by itself. */
type DialFailureCode = 'CONNECT_REFUSED' | 'CONNECT_TIMEOUT' | 'CONNECT_FAILED';

/** What a dial to `to` rejects with when the system has reported `cause`, of which only `code` (`ECONNREFUSED` …) is looked at. */
export function dialFailure(to: Endpoint, cause: NodeJS.ErrnoException): ProxyError {
  const code = DIAL_FAILURES[cause.code ?? ''] ?? 'CONNECT_FAILED';
  return new ProxyError(code, `dial ${formatEndpoint(to)}: ${cause.code ?? cause.message}`, { cause });
}

/** What a dial rejects with when nobody has answered for `timeoutMs` milliseconds. */
export function dialTimeout(to: Endpoint, timeoutMs: number): ProxyError {
  return new ProxyError('CONNECT_TIMEOUT', `dial ${formatEndpoint(to)}: no answer within ${formatDuration(timeoutMs)}`);
}

/** What a dial rejects with when `to` is no address at all, as `problem` says in one clause. */
export function undiallable(to: Endpoint, problem: string): ProxyError {
  return new ProxyError('CONNECT_FAILED', `dial ${formatEndpoint(to)}: ${problem}`);
}

const DIAL_FAILURES: Readonly<Record<string, DialFailureCode>> = {
  ECONNREFUSED: 'CONNECT_REFUSED',
  // A unix socket that nobody listens on any more, or that is not there.
  ENOENT: 'CONNECT_REFUSED',
  // The kernel gave up before our own deadline.
  ETIMEDOUT: 'CONNECT_TIMEOUT',
};
