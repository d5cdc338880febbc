/**
 * Every way in which a connection can fail: a closed list. It is the metric label, the log key and the close reason.
 * A connection that ended well has none.
 */
export type ProxyErrorCode =
  /** Whether the peer may be trusted, or connect at all, could not be determined: no authority reachable, or no certificate of our own. */
  | 'AUTHORIZATION_FAILED'
  /** Its backend was removed from its route, or is down, and the route does not keep such connections. */
  | 'BACKEND_REMOVED'
  /** An access list of the listener or of the route keeps the client's address out. */
  | 'CLIENT_DENIED'
  /** An operator closed it, by the admin API or `meshgate close`. */
  | 'CLOSED_BY_ADMIN'
  /** The drain's grace was over before the connection was. */
  | 'CLOSED_BY_DRAIN'
  /** The dial failed for a reason that is neither of the next two: no route to host, name not found. */
  | 'CONNECT_FAILED'
  /** The backend refused the connection. */
  | 'CONNECT_REFUSED'
  /** No backend answered before the connect timeout. */
  | 'CONNECT_TIMEOUT'
  /** The client proved who it is, and may not connect: an intention says so, or the default. */
  | 'DENIED'
  /** The client reset the connection, or left in the middle of its hello. One that leaves without a byte has ended well. */
  | 'DOWNSTREAM_RESET'
  /** The client did not prove who it is: no certificate, one that has expired or leads to no trusted root, or no TLS at all. */
  | 'DOWNSTREAM_UNTRUSTED'
  /** One side had finished sending, and the other sent no byte for the half-close timeout. */
  | 'HALF_CLOSE_TIMEOUT'
  /** Neither side sent a byte for the idle timeout. */
  | 'IDLE_TIMEOUT'
  /** A bug in the proxy or in a plugin: please report it. */
  | 'INTERNAL'
  /** A limit on connections was reached; the message names which. */
  | 'LIMIT_REACHED'
  /** The proxy itself lacked something: file descriptors, ports, memory, a permission. No backend is to blame, none is ejected. */
  | 'LOCAL_RESOURCE'
  /** The dial would lead back to this proxy: the route's backend is one of its own listeners. */
  | 'LOOP_DETECTED'
  /** It had lasted for its maximum age. */
  | 'MAX_AGE'
  /** The route has no backend at all. */
  | 'NO_BACKEND'
  /** The route leads to a datacenter or peer that has no mesh gateway. */
  | 'NO_GATEWAY'
  /** The hello names no server. */
  | 'NO_SERVER_NAME'
  /** No PROXY protocol header from a peer that must send one, or a malformed one. */
  | 'PROXY_PROTOCOL_MALFORMED'
  /** A connection from a peer outside of the trusted addresses, on a listener that requires the PROXY protocol. */
  | 'PROXY_PROTOCOL_UNTRUSTED'
  /** A plugin, or the egress of a route, refused the connection; the message says which, and why. */
  | 'REFUSED_BY_POLICY'
  /** No route has this server name. */
  | 'ROUTE_NOT_FOUND'
  /** A hello that breaks its own format. */
  | 'SNIFF_MALFORMED'
  /** The hello was incomplete when its time was over. */
  | 'SNIFF_TIMEOUT'
  /** The hello was incomplete when its size limit was reached. */
  | 'SNIFF_TOO_LONG'
  /** Not a protocol that any sniffer knows. */
  | 'SNIFF_UNRECOGNIZED'
  /** The backend reset the connection. */
  | 'UPSTREAM_RESET'
  /** The backend did not prove to be who the route leads to: another identity, or a certificate that cannot be trusted. */
  | 'UPSTREAM_UNTRUSTED';

/** Who is to blame. */
export type Side = 'downstream' | 'upstream' | 'proxy';

/** Blame by code. A `Record`, so that the compiler keeps it total. */
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

/** The one error with which the pipeline's I/O rejects. The message is for people and never parsed. */
export class ProxyError extends Error {
  override readonly name = 'ProxyError';
  /** Label of metrics, key of logs, reason of a close. */
  readonly code: ProxyErrorCode;

  constructor(code: ProxyErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  /** Also one of another copy of this package: a plugin that lives in a folder of its own brings its own. Not to be extended. */
  static override [Symbol.hasInstance](value: unknown): value is ProxyError {
    return (
      value instanceof Error && value.name === 'ProxyError' && Object.hasOwn(SIDES, String(Reflect.get(value, 'code')))
    );
  }

  /** Who is to blame. */
  get side(): Side {
    return SIDES[this.code];
  }

  /**
   * `reason` itself when it is a `ProxyError`; anything else is a bug and becomes `INTERNAL` with its cause.
   *
   * @param part who threw it: `filter postgres`, `resolver` … The message begins with it.
   */
  static from(reason: unknown, part?: string): ProxyError {
    if (reason instanceof ProxyError) return reason;
    const { message } = errorOf(reason);
    return new ProxyError('INTERNAL', part === undefined ? message : `${part}: ${message}`, { cause: reason });
  }
}

/** Whatever was thrown, as an error. Never throws: not everything that can be thrown has a text. */
export function errorOf(thrown: unknown): Error {
  if (thrown instanceof Error) return thrown;
  try {
    return new Error(String(thrown));
  } catch {
    return new Error(`a value of type ${typeof thrown} that has no text`);
  }
}
