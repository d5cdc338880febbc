/** The side at fault. */
export type Side = 'downstream' | 'upstream' | 'proxy';

/** The closed list of error codes, each with the side at fault: metric label, log key, close reason. */
export const SIDES = {
  /** Authorization of the peer could not be decided: no authority was reachable, or this proxy has no certificate. */
  AUTHORIZATION_FAILED: 'proxy',
  /** The backend was removed from its route or went down, and the route closes such connections. */
  BACKEND_REMOVED: 'proxy',
  /** An access list of the listener or of the route denies the client's address. */
  CLIENT_DENIED: 'downstream',
  /** An operator closed the connection, through the admin API or `meshgate close`. */
  CLOSED_BY_ADMIN: 'proxy',
  /** The connection was still open at the end of the drain's grace period. */
  CLOSED_BY_DRAIN: 'proxy',
  /** The dial failed for a reason other than the next two: no route to host, name not found. */
  CONNECT_FAILED: 'upstream',
  /** The backend refused the connection. */
  CONNECT_REFUSED: 'upstream',
  /** No backend accepted the connection before the connect timeout. */
  CONNECT_TIMEOUT: 'upstream',
  /** The client's identity is proven, but an intention or the default policy denies it. */
  DENIED: 'downstream',
  /** The client reset the connection, or closed it in its hello. Closing without sending a byte is a normal end. */
  DOWNSTREAM_RESET: 'downstream',
  /** The client did not prove its identity: no TLS, no certificate, an expired one, or one without a trusted root. */
  DOWNSTREAM_UNTRUSTED: 'downstream',
  /** One side finished sending, and the other sent no byte within the half-close timeout. */
  HALF_CLOSE_TIMEOUT: 'downstream',
  /** Neither side sent a byte within the idle timeout. */
  IDLE_TIMEOUT: 'downstream',
  /** A bug in the proxy or in a plugin; please report it. */
  INTERNAL: 'proxy',
  /** A connection limit was reached; the message names the limit. */
  LIMIT_REACHED: 'proxy',
  /** The proxy lacks a local resource: file descriptors, ports, memory, a permission. No backend is ejected for it. */
  LOCAL_RESOURCE: 'proxy',
  /** The dial would lead back to this proxy: the backend is one of its own listeners. */
  LOOP_DETECTED: 'proxy',
  /** The connection reached its maximum age. */
  MAX_AGE: 'proxy',
  /** The route has no backends. */
  NO_BACKEND: 'proxy',
  /** The route leads to a datacenter or peer that has no mesh gateway. */
  NO_GATEWAY: 'upstream',
  /** The hello has no server name. */
  NO_SERVER_NAME: 'downstream',
  /** A peer that must send a PROXY protocol header sent none, or a malformed one. */
  PROXY_PROTOCOL_MALFORMED: 'downstream',
  /** A peer outside of the trusted addresses connected to a listener that requires the PROXY protocol. */
  PROXY_PROTOCOL_UNTRUSTED: 'downstream',
  /** A plugin or the route's egress policy refused the connection; the message names it and the reason. */
  REFUSED_BY_POLICY: 'downstream',
  /** No route matches the server name. */
  ROUTE_NOT_FOUND: 'downstream',
  /** The hello violates its own format. */
  SNIFF_MALFORMED: 'downstream',
  /** The hello was incomplete at its deadline. */
  SNIFF_TIMEOUT: 'downstream',
  /** The hello was incomplete at its size limit. */
  SNIFF_TOO_LONG: 'downstream',
  /** No sniffer recognises the protocol. */
  SNIFF_UNRECOGNIZED: 'downstream',
  /** The backend reset the connection. */
  UPSTREAM_RESET: 'upstream',
  /** The backend did not prove the expected identity: a different one, or an untrusted certificate. */
  UPSTREAM_UNTRUSTED: 'upstream',
} as const;

/** Error code of a connection. A normal end has none. */
export type ProxyErrorCode = keyof typeof SIDES;

/** The only error that the pipeline's I/O rejects with. Programs use `code`; the message is for people. */
export class ProxyError extends Error {
  override readonly name = 'ProxyError';
  /** Metric label, log key and close reason. */
  readonly code: ProxyErrorCode;

  constructor(code: ProxyErrorCode, message: string, options?: ErrorOptions) {
    if (!Object.hasOwn(SIDES, code))
      throw new TypeError(
        `expected the code of an error, such as REFUSED_BY_POLICY, found ${code as string}: ${message}`,
      );
    super(message, options);
    this.code = code;
  }

  /** Also true for errors of another copy of this package, such as that of a plugin. Do not extend this class. */
  static override [Symbol.hasInstance](value: unknown): value is ProxyError {
    return (
      isError(value) &&
      value.name === 'ProxyError' &&
      'side' in value &&
      Object.hasOwn(SIDES, String(read(value, 'code')))
    );
  }

  /** The side at fault. */
  get side(): Side {
    return SIDES[this.code];
  }

  /**
   * Returns `reason` itself if it is a `ProxyError`; anything else is a bug and becomes `INTERNAL`, with `reason` as
   * its cause.
   *
   * @param part the part that threw, such as `filter postgres` or `resolver`; the message begins with it
   */
  static from(reason: unknown, part?: string): ProxyError {
    if (reason instanceof ProxyError) return reason;
    const { message } = withCause(errorOf(reason));
    return new ProxyError('INTERNAL', part === undefined ? message : `${part}: ${message}`, { cause: reason });
  }
}

/** Returns a property, or `undefined` if its getter throws. */
function read(error: Error, key: 'code' | 'cause'): unknown {
  try {
    return Reflect.get(error, key);
  } catch {
    return undefined;
  }
}

/** Returns the code of a system error, such as `ECONNREFUSED`; `undefined` for anything else. Never throws. */
export function systemCode(thrown: unknown): string | undefined {
  const code = isError(thrown) ? read(thrown, 'code') : undefined;
  return typeof code === 'string' ? code : undefined;
}

/** Returns anything thrown as an `Error`. Never throws, although not every value can be converted to a string. */
export function errorOf(thrown: unknown): Error {
  if (isError(thrown)) return thrown;
  try {
    return new Error(String(thrown));
  } catch {
    return new Error(`a value of type ${typeof thrown} that has no text`);
  }
}

/** Adds the cause of an error to its message: Node's `fetch` only says `fetch failed`. */
export function withCause(error: Error): Error {
  const cause = read(error, 'cause');
  if (!isError(cause)) return error;
  const reason = cause.message || (systemCode(cause) ?? '');
  if (reason === '' || error.message.includes(reason)) return error;
  return new Error(`${error.message}: ${reason}`, { cause: error });
}

/** Whether it is a readable error: a plugin may throw a revoked proxy, or an error with getters that throw. */
function isError(thrown: unknown): thrown is Error {
  try {
    return thrown instanceof Error && [thrown.name, thrown.message].every((text) => typeof text === 'string');
  } catch {
    return false;
  }
}

/** Calls `onRejected` if `response` is a promise or another thenable that rejects: for calls that are not awaited. */
export function ifRejected(response: unknown, onRejected: (reason: unknown) => void): void {
  if (response !== undefined) Promise.resolve(response).catch(onRejected);
}
