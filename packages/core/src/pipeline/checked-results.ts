// Validates results of resolvers and transports: they may be plain JavaScript, without the declared types.
import { ProxyError } from '../errors.ts';
import type { Accepted, Hello } from './connection.ts';
import type { Route } from '../routes/route.ts';
import type { Resolver } from './stages.ts';
import type { Progress, Splice, Stall, Transfer } from '../transport/transport.ts';

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

/**
 * Returns the byte counts of `splice`, updated in place; zeros if its transport does not provide numbers. Never throws.
 */
export function carriedBy(splice: Splice): Pick<Progress, 'bytesUp' | 'bytesDown'> {
  try {
    return Number.isFinite(splice.bytesUp) && Number.isFinite(splice.bytesDown) ? splice : NOTHING_CARRIED;
  } catch {
    return NOTHING_CARRIED;
  }
}

/** Returns when the last byte arrived; `undefined` if the transport does not provide it. Never throws. */
export function lastByteOf(splice: Splice): number | undefined {
  try {
    return Number.isFinite(splice.lastByteAt) ? splice.lastByteAt : undefined;
  } catch {
    return undefined;
  }
}

/** Returns the side that waits for its network, if the transport can tell. Never throws. */
export function stallOf(splice: Splice): Stall | undefined {
  try {
    return splice.stalled?.();
  } catch {
    return undefined;
  }
}

/** No bytes in either direction. */
export const NOTHING_CARRIED: Transfer = { bytesUp: 0, bytesDown: 0 };

/** Returns the transfer of a connection that failed with `error`, without known byte counts. */
export function failedWith(error: ProxyError): Transfer {
  return { ...NOTHING_CARRIED, error };
}
