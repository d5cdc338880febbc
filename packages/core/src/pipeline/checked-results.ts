// Validates results of resolvers and transports: they may be plain JavaScript, without the declared types.
import { ProxyError } from '../errors.ts';
import type { Accepted, Hello } from './connection.ts';
import type { Route } from '../routes/route.ts';
import type { Resolver } from './stages.ts';
import type { Splice, Transfer } from '../transport/transport.ts';

/**
 * Calls a resolver.
 *
 * @throws ProxyError `INTERNAL` if it throws, or returns anything but a route or `undefined`
 */
export function resolved(resolver: Resolver, hello: Hello, from: Accepted): Route | undefined {
  let route: unknown;
  try {
    route = resolver.resolve(hello, from);
  } catch (reason) {
    throw ProxyError.from(reason, 'resolver');
  }
  if (route === undefined || isRoute(route)) return route;
  throw new ProxyError('INTERNAL', `resolver: expected a route or undefined, found ${nameOf(route)}`);
}

function isRoute(value: unknown): value is Route {
  if (typeof value !== 'object' || value === null) return false;
  const { name, backends } = value as Partial<Route>;
  return typeof name === 'string' && Array.isArray(backends);
}

function nameOf(value: unknown): string {
  if (value === null) return 'null';
  return value instanceof Promise ? 'a promise' : `a value of type ${typeof value}`;
}

/** Whether a transport returned a splice. */
export function isSplice(value: unknown): value is Splice {
  return typeof value === 'object' && value !== null && 'done' in value && value.done instanceof Promise;
}

/** Validates the result of a splice: transports may be plain JavaScript, and metrics use the values. */
export function transferOf(transfer: Transfer): Transfer {
  const { bytesUp, bytesDown, error } = transfer;
  const isSound = Number.isFinite(bytesUp) && Number.isFinite(bytesDown);
  if (isSound)
    return error === undefined || error instanceof ProxyError ? transfer : failedWith(ProxyError.from(error));
  throw new ProxyError('INTERNAL', 'transport: expected a transfer at the end of a splice, found none');
}

/** Returns the transfer of a connection that failed with `error`, without known byte counts. */
export function failedWith(error: ProxyError): Transfer {
  return { bytesUp: 0, bytesDown: 0, error };
}
