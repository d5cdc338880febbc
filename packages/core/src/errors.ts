/** The closed list of error codes of connections: metric label, log key, close reason. A normal end has none. */
export type ProxyErrorCode =
  /** Authorization of the peer could not be decided: no authority was reachable, or this proxy has no certificate. */
  | 'AUTHORIZATION_FAILED'
  /** The backend was removed from its route or went down, and the route closes such connections. */
  | 'BACKEND_REMOVED'
  /** An access list of the listener or of the route denies the client's address. */
  | 'CLIENT_DENIED'
  /** An operator closed the connection, through the admin API or `meshgate close`. */
  | 'CLOSED_BY_ADMIN'
  /** The connection was still open at the end of the drain's grace period. */
  | 'CLOSED_BY_DRAIN'
  /** The dial failed for a reason other than the next two: no route to host, name not found. */
  | 'CONNECT_FAILED'
  /** The backend refused the connection. */
  | 'CONNECT_REFUSED'
  /** No backend accepted the connection before the connect timeout. */
  | 'CONNECT_TIMEOUT'
  /** The client's identity is proven, but an intention or the default policy denies it. */
  | 'DENIED'
  /** The client reset the connection, or closed it in its hello. Closing without sending a byte is a normal end. */
  | 'DOWNSTREAM_RESET'
  /** The client did not prove its identity: no TLS, no certificate, an expired one, or one without a trusted root. */
  | 'DOWNSTREAM_UNTRUSTED'
  /** One side finished sending, and the other sent no byte within the half-close timeout. */
  | 'HALF_CLOSE_TIMEOUT'
  /** Neither side sent a byte within the idle timeout. */
  | 'IDLE_TIMEOUT'
  /** A bug in the proxy or in a plugin; please report it. */
  | 'INTERNAL'
  /** A connection limit was reached; the message names the limit. */
  | 'LIMIT_REACHED'
  /** The proxy lacks a local resource: file descriptors, ports, memory, a permission. No backend is ejected for it. */
  | 'LOCAL_RESOURCE'
  /** The dial would lead back to this proxy: the backend is one of its own listeners. */
  | 'LOOP_DETECTED'
  /** The connection reached its maximum age. */
  | 'MAX_AGE'
  /** The route has no backends. */
  | 'NO_BACKEND'
  /** The route leads to a datacenter or peer that has no mesh gateway. */
  | 'NO_GATEWAY'
  /** The hello has no server name. */
  | 'NO_SERVER_NAME'
  /** A peer that must send a PROXY protocol header sent none, or a malformed one. */
  | 'PROXY_PROTOCOL_MALFORMED'
  /** A peer outside of the trusted addresses connected to a listener that requires the PROXY protocol. */
  | 'PROXY_PROTOCOL_UNTRUSTED'
  /** A plugin or the route's egress policy refused the connection; the message names it and the reason. */
  | 'REFUSED_BY_POLICY'
  /** No route matches the server name. */
  | 'ROUTE_NOT_FOUND'
  /** The hello violates its own format. */
  | 'SNIFF_MALFORMED'
  /** The hello was incomplete at its deadline. */
  | 'SNIFF_TIMEOUT'
  /** The hello was incomplete at its size limit. */
  | 'SNIFF_TOO_LONG'
  /** No sniffer recognises the protocol. */
  | 'SNIFF_UNRECOGNIZED'
  /** The backend reset the connection. */
  | 'UPSTREAM_RESET'
  /** The backend did not prove the expected identity: a different one, or an untrusted certificate. */
  | 'UPSTREAM_UNTRUSTED';

/** The side at fault. */
export type Side = 'downstream' | 'upstream' | 'proxy';

/** The side at fault, by code. A `Record`, so that the compiler requires every code. */
export const SIDES: Readonly<Record<ProxyErrorCode, Side>> = {
  AUTHORIZATION_FAILED: 'proxy',
  BACKEND_REMOVED: 'proxy',
  CLIENT_DENIED: 'downstream',
  CLOSED_BY_ADMIN: 'proxy',
  CLOSED_BY_DRAIN: 'proxy',
  CONNECT_FAILED: 'upstream',
  CONNECT_REFUSED: 'upstream',
  CONNECT_TIMEOUT: 'upstream',
  DENIED: 'downstream',
  DOWNSTREAM_RESET: 'downstream',
  DOWNSTREAM_UNTRUSTED: 'downstream',
  HALF_CLOSE_TIMEOUT: 'downstream',
  IDLE_TIMEOUT: 'downstream',
  INTERNAL: 'proxy',
  LIMIT_REACHED: 'proxy',
  LOCAL_RESOURCE: 'proxy',
  LOOP_DETECTED: 'proxy',
  MAX_AGE: 'proxy',
  NO_BACKEND: 'proxy',
  NO_GATEWAY: 'upstream',
  NO_SERVER_NAME: 'downstream',
  PROXY_PROTOCOL_MALFORMED: 'downstream',
  PROXY_PROTOCOL_UNTRUSTED: 'downstream',
  REFUSED_BY_POLICY: 'downstream',
  ROUTE_NOT_FOUND: 'downstream',
  SNIFF_MALFORMED: 'downstream',
  SNIFF_TIMEOUT: 'downstream',
  SNIFF_TOO_LONG: 'downstream',
  SNIFF_UNRECOGNIZED: 'downstream',
  UPSTREAM_RESET: 'upstream',
  UPSTREAM_UNTRUSTED: 'upstream',
};

/** The only error that the pipeline's I/O rejects with. Programs use `code`; the message is for people. */
export class ProxyError extends Error {
  override readonly name = 'ProxyError';
  /** Metric label, log key and close reason. */
  readonly code: ProxyErrorCode;

  constructor(code: ProxyErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  /** Also true for errors of another copy of this package, such as that of a plugin. Do not extend this class. */
  static override [Symbol.hasInstance](value: unknown): value is ProxyError {
    return isError(value) && value.name === 'ProxyError' && 'side' in value && Object.hasOwn(SIDES, codeOf(value));
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
    const { message } = errorOf(reason);
    return new ProxyError('INTERNAL', part === undefined ? message : `${part}: ${message}`, { cause: reason });
  }
}

function codeOf(error: Error): string {
  try {
    return String(Reflect.get(error, 'code'));
  } catch {
    return '';
  }
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
