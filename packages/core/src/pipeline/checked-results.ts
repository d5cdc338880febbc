// Validates results of resolvers and transports: they may be plain JavaScript, without the declared types.
import { errorOf, ifRejected, ProxyError } from '../errors.ts';
import type { Accepted, Hello } from './connection.ts';
import type { Route } from '../routes/route.ts';
import { formatProblem } from '../lifecycle/plugin.ts';
import { foundPart, shapeProblem } from '../lifecycle/part-shape.ts';
import { routeProblems } from '../routes/snapshot-problems.ts';
import { upstreamProblem } from './connecting.ts';
import type { Connector, Layer, Resolver } from './stages.ts';
import type { Progress, Splice, Stall, Transfer } from '../transport/transport.ts';

/**
 * Calls a resolver.
 *
 * @param who the resolver, for errors
 * @throws ProxyError `INTERNAL` if it throws, or returns anything but a route or `undefined`
 */
export function resolved(resolver: Resolver, hello: Hello, from: Accepted, who = 'resolver'): Route | undefined {
  let route: unknown;
  try {
    route = resolver.resolve(hello, from);
  } catch (reason) {
    throw ProxyError.from(reason, who);
  }
  if (route === undefined || isRoute(route)) return route;
  throw new ProxyError('INTERNAL', `${who}: expected a route or undefined, found ${foundPart(route)}`);
}

/**
 * Wraps a plugin's resolver: its errors begin with `who`, also that of a route that a snapshot could not have. Without
 * it, a malformed limit or access rule would be none. Each object is judged once.
 */
export function checkedResolver(resolver: Resolver, who: string): Resolver {
  const sound = new WeakSet<Route>();
  return {
    resolve(hello, from) {
      const route = resolved(resolver, hello, from, who);
      if (route === undefined || sound.has(route)) return route;
      expectSound(route, who);
      sound.add(route);
      return route;
    },
  };
}

/**
 * Wraps a plugin's layer: its errors begin with `who`, also that of a result which is no connector or no upstream. It
 * may forget the promise of the inner connector.
 */
export function checkedLayer(layer: Layer<Connector>, who: string): Layer<Connector> {
  return (inner) => {
    const outer = wrapped(layer, inner, who);
    return {
      async connect(route, context) {
        try {
          const upstream = await outer.connect(route, context);
          const wrong = upstreamProblem(upstream);
          if (wrong !== undefined) throw new TypeError(`expected an upstream ${wrong}`);
          return upstream;
        } catch (reason) {
          throw ProxyError.from(reason, who);
        }
      },
    };
  };
}

function wrapped(layer: Layer<Connector>, inner: Connector, who: string): Connector {
  try {
    const outer = layer({ connect: (route, context) => mayBeForgotten(inner.connect(route, context)) });
    const problem = shapeProblem(outer, 'connect');
    if (problem !== undefined) throw new TypeError(problem);
    return outer;
  } catch (reason) {
    throw new TypeError(`${who}: ${errorOf(reason).message}`, { cause: reason });
  }
}

function mayBeForgotten<T>(result: Promise<T>): Promise<T> {
  ifRejected(result, () => undefined);
  return result;
}

/** @throws ProxyError `INTERNAL` if a snapshot could not have the route, or if its getters throw */
function expectSound(route: Route, who: string): void {
  try {
    const [problem] = routeProblems(route);
    if (problem !== undefined) throw new TypeError(formatProblem(problem));
  } catch (reason) {
    throw ProxyError.from(reason, who);
  }
}

function isRoute(value: unknown): value is Route {
  if (typeof value !== 'object' || value === null) return false;
  const { name, backends } = value as Partial<Route>;
  return typeof name === 'string' && Array.isArray(backends);
}

/** Validates the result of a splice: transports may be plain JavaScript, and metrics use the values. */
export function transferOf(transfer: Transfer): Transfer {
  const { bytesUp, bytesDown } = transfer;
  const { error }: { readonly error?: unknown } = transfer;
  const isSound = Number.isFinite(bytesUp) && Number.isFinite(bytesDown) && bytesUp >= 0 && bytesDown >= 0;
  if (isSound && (error === undefined || error instanceof ProxyError)) return transfer;
  if (isSound) return { bytesUp, bytesDown, ...(error !== null && { error: ProxyError.from(error, 'transport') }) };
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
