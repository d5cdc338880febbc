import type { Endpoint } from '../transport/endpoint.ts';

/** A destination of a route. */
export interface Backend {
  /** The host may be a DNS name: all of its A and AAAA addresses are used. */
  readonly address: Endpoint;
  /** Share of the route's connections: an integer of 1 or more. */
  readonly weight: number;
  /** Advice, not proof: an unhealthy backend is dialled only when the route has no healthy one left. */
  readonly healthy: boolean;
  /**
   * Priority group: an integer of 0 or more, 0 when absent, lower first. Groups with higher numbers are backups: used
   * when no healthy, non-ejected backend of the lower groups can be reached.
   */
  readonly priority?: number;
  /** Location labels, such as `{ zone: 'a' }`, for a gateway with a preference. None when absent. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Overrides the route's version; `off`: this backend expects no header. Only on routes with a version. */
  readonly proxyProtocol?: ProxyProtocolVersion | 'off';
}

/**
 * Selects the next backend. `least_connections` takes the less busy of two drawn at random; `client_hash` maps all
 * connections of a client to one backend, `name_hash` all connections for a server name.
 */
export type BuiltInBalance = 'round_robin' | 'least_connections' | 'random' | 'client_hash' | 'name_hash';

/** A built-in balance, or one that a plugin offers. */
export type Balance = BuiltInBalance | PartUse;

/** Active health checks of backends. Identical checks of one backend are shared, also between routes. */
export interface HealthCheck {
  /** `tcp`: the backend accepts a connection. `tls`: it also answers a ClientHello with a ServerHello. */
  readonly kind: 'tcp' | 'tls';
  /** From the start of one check to the start of the next, in milliseconds, with 10 % jitter. */
  readonly intervalMs: number;
  /** Timeout of one check, in milliseconds. */
  readonly timeoutMs: number;
  /** Consecutive successful checks that bring a backend up: 1 or more. */
  readonly rise: number;
  /** Consecutive failed checks that take a backend down: 1 or more. The very first check decides alone. */
  readonly fall: number;
  /** Server name in the ClientHello; absent: the hello has none. */
  readonly serverName?: string;
  /** Time for a recovered backend to grow to its full share of connections, in milliseconds; at once when absent. */
  readonly slowStartMs?: number;
  /** If all backends of a route are down: `try` them anyway (the default), or `refuse` its connections. */
  readonly whenAllDown?: 'try' | 'refuse';
}

/** Conditions for failing over to the next priority group, and for failing back. */
export interface Failover {
  /** A group with fewer healthy backends is out of service: 1 or more. A smaller group needs all of its backends. */
  readonly minHealthy: number;
  /**
   * How long a group must have enough healthy backends before it is used again, in milliseconds, counted from the first
   * connection after its recovery; 0 when absent.
   */
  readonly returnAfterMs?: number;
}

/** Makes a route lead to the server name that the client requested, within the route's `serverNames`. */
export interface Egress {
  /** Destination port: 1 to 65535. */
  readonly port: number;
  /** Networks or addresses that may be dialled although they are not public; none when absent. */
  readonly allowAddresses?: readonly string[];
}

/** How connections are closed whose backend left the route or went down. */
export interface BackendDrain {
  /** Grace period, in milliseconds; 0: none. */
  readonly graceMs: number;
  /** Period over which the rest is then closed, in milliseconds, so that clients do not all reconnect at once. */
  readonly spreadMs: number;
}

/** TCP keepalive (RFC 1122, section 4.2.3.6). */
export interface KeepAlive {
  /** Idle time before the first probe, in milliseconds. */
  readonly idleMs: number;
  /** Time between probes, in milliseconds. The system's default when absent, or if the transport cannot set it. */
  readonly intervalMs?: number;
  /** Unanswered probes before the connection is dropped. The system's default when absent or not supported. */
  readonly probes?: number;
  /**
   * Maximum time, in milliseconds, that sent bytes may stay unacknowledged, which probes do not cover, or that the
   * receive window may stay closed (RFC 5482; tcp(7), `TCP_USER_TIMEOUT`). The total time of the probes when absent; 0:
   * the system's default. Ignored by transports that cannot set it.
   */
  readonly userTimeoutMs?: number;
}

/** Which clients may connect, by address: that of the PROXY protocol where accepted. `deny` beats `allow`. */
export interface AccessRules {
  /**
   * Addresses and blocks, or `unix` for clients on unix sockets; all other clients are denied. Without `allow` and
   * `allowFile`, all clients are allowed.
   */
  readonly allow?: readonly string[];
  /** Addresses and blocks that are denied, even if `allow` contains them. */
  readonly deny?: readonly string[];
  /** Absolute path of a file with one entry per line, in addition to `allow`. Reloaded when it changes. */
  readonly allowFile?: string;
  /** The same for `deny`. */
  readonly denyFile?: string;
}

/** A rate limit: a token bucket of `count` tokens that refills completely in `perMs`. */
export interface Rate {
  /** Greater than 0. */
  readonly count: number;
  /** In milliseconds, greater than 0. */
  readonly perMs: number;
}

/** Limits on the connections of one route. Routes with the same name share the counters, across snapshots. */
export interface RouteLimits {
  /** Concurrent connections; further ones end with `LIMIT_REACHED`. No limit when absent. */
  readonly connections?: number;
  /** Rate of new connections; further ones end with `LIMIT_REACHED`. No limit when absent. */
  readonly rate?: Rate;
  /**
   * Concurrent connections per backend; a full backend is skipped for the next one, then for those of the next priority
   * group. No limit when absent.
   */
  readonly perBackend?: number;
  /** Overrides `Limits.maxAgeMs` of the proxy. */
  readonly maxAgeMs?: number;
  /** Overrides `Limits.idleTimeoutMs` of the proxy. */
  readonly idleTimeoutMs?: number;
  /** Overrides `Limits.halfCloseTimeoutMs` of the proxy. */
  readonly halfCloseTimeoutMs?: number;
}

/** Version of the PROXY protocol (HAProxy, doc/proxy-protocol.txt): `v1` is text, `v2` binary with more fields. */
export type ProxyProtocolVersion = 'v1' | 'v2';

/** Maps server names to backends. */
export interface Route {
  /** Metric label and log field: unique in its snapshot, stable over time, set by configuration, never by a client. */
  readonly name: string;
  /**
   * Origin of the route for people and metrics: `static`, `local-service`, `remote-datacenter` … A short list, bounded
   * by the source.
   */
  readonly kind?: string;
  /**
   * Server names that match: exact (`api.example.com`), `*.suffix` (one or more labels before the suffix, not the
   * suffix itself), or `*` for any name. Lower case, without a trailing dot. The route table matches names, never the
   * source.
   */
  readonly serverNames: readonly string[];
  /**
   * Names of the listeners that the route applies to; all when absent. If two routes claim the same name on a listener,
   * the one that names the listener precedes the one for all listeners.
   */
  readonly listeners?: readonly string[];
  /**
   * Also matches clients that send no server name, or use a protocol that no sniffer recognises. `serverNames` may then
   * be empty. Does not match clients that send an unknown name: use `*` for those.
   */
  readonly fallback?: boolean;
  /** May be empty: connections then end with {@link Route.withoutBackend}. */
  readonly backends: readonly Backend[];
  /** Error code while there is no backend; `NO_BACKEND` when absent. `NO_GATEWAY`: the backends are other gateways. */
  readonly withoutBackend?: 'NO_BACKEND' | 'NO_GATEWAY';
  /** `round_robin` when absent. */
  readonly balance?: Balance;
  /**
   * When the next priority group takes over, and for how long; when absent, as described in {@link Backend.priority}.
   */
  readonly failover?: Failover;
  /**
   * Dials the server name itself instead of `backends`, which must be empty. `serverNames` lists the names that clients
   * may request: exact names and suffixes, never `*`.
   */
  readonly egress?: Egress;
  /** Health checks of its backends; none when absent. */
  readonly healthCheck?: HealthCheck;
  /**
   * Timeout from the first dial to an established connection, for all attempts together, in milliseconds. The proxy's
   * limit when absent.
   */
  readonly connectTimeoutMs?: number;
  /**
   * Retries on another backend if one closes or resets the connection before its first byte, while the client has sent
   * nothing but its hello. The hello is replayed, within the dial limit and the connect timeout of the connection.
   * Never if the hello offers early data. `false` when absent.
   */
  readonly retryBeforeFirstByte?: boolean;
  /**
   * Treats a reset by either side as a normal end once the backend has sent a byte: for protocols whose peers close
   * without reading data in flight, such as the gossip of Consul's servers. `false` when absent: a reset is a failure.
   */
  readonly resetsEndWell?: boolean;
  /**
   * Closes connections, with `BACKEND_REMOVED`, if a new snapshot no longer has their backend or their route. They
   * continue when absent.
   */
  readonly onBackendRemoved?: BackendDrain;
  /**
   * The same for backends that go down: by health checks, or because the source reports them unhealthy. The connections
   * continue when absent.
   */
  readonly onBackendDown?: BackendDrain;
  /** Keepalive of connections to the backends. The proxy's setting when absent. */
  readonly keepAlive?: KeepAlive;
  /** Clients that may use the route. All when absent. */
  readonly access?: AccessRules;
  /** Limits on its connections, in addition to the limits of the proxy. */
  readonly limits?: RouteLimits;
  /**
   * Version of the PROXY protocol header sent to the backends, with the client's address; `off`: only to backends with
   * a version of their own. No headers when absent.
   */
  readonly proxyProtocol?: ProxyProtocolVersion | 'off';
  /**
   * Layers around its connector, offered by plugins; the first is outermost, inside the layers of all routes. None when
   * absent.
   */
  readonly use?: readonly PartUse[];
  /** Origin of the route, as facts for `explain`: for example `{ service: 'db', subset: 'v1', datacenter: 'dc2' }`. */
  readonly origin?: Readonly<Record<string, string>>;
}

/** Use of a plugin's part, by its offered name. */
export interface PartUse {
  /** Name under which a plugin offers the part. */
  readonly name: string;
  /** Parsed by the plugin. Plain data: it may be stored on disk and sent to other processes. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Position in a file, for error messages; absent if it is in none. */
  readonly at?: { readonly file: string; readonly line: number; readonly column: number };
}

/** Everything that a source knows at one moment. */
export interface RouteSnapshot {
  /** Equal versions mean equal routes: a snapshot with the version in use is ignored. */
  readonly version: string;
  /** All routes: a route that is not listed is removed. */
  readonly routes: readonly Route[];
  /**
   * Time at which the snapshot was known to be correct, if not now: a stored snapshot of an earlier process, or the
   * last good one of a source whose current data is unusable. `warnings` then gives the reason.
   */
  readonly asOf?: Date;
  /**
   * Current problems of a source that still serves, one sentence each: «token lacks node:read», «agent unreachable
   * since …, routes are the last good ones». Shown by `/ready`, in the log and in the metrics.
   */
  readonly warnings?: readonly string[];
}

/** A provider of routes. `describeRouteSource` of the testkit tests the contract. */
export interface RouteSource {
  /** Unique within the proxy; a metric label. */
  readonly name: string;
  /**
   * Yields the whole set: first as soon as it is known, then at each change. Yielded snapshots are never mutated.
   *
   * Returns when `signal` aborts, and leaves nothing behind: no timer, no socket. Throwing means "restart": the last
   * snapshot stays in use, and `watch` is called again after a growing back-off.
   */
  watch(signal: AbortSignal): AsyncIterable<RouteSnapshot>;
}

/** A named address to listen on. */
export interface ListenAddress {
  /** Unique within the proxy; a metric label. */
  readonly name: string;
  /** The address; port 0 selects a free port. */
  readonly endpoint: Endpoint;
  /**
   * Addresses under which others reach this listener, in addition to those of this machine: those of a NAT or a load
   * balancer in front. Dials to them are refused, since they would loop back.
   */
  readonly advertised?: readonly Endpoint[];
  /** Clients that may connect. All when absent. */
  readonly access?: AccessRules;
}

/**
 * A provider of listeners, for listeners that are not fixed by configuration. The contract is that of {@link
 * RouteSource}.
 */
export interface ListenerSource {
  /** Unique within the proxy; a metric label. */
  readonly name: string;
  /**
   * Yields the whole set at each change. A listener that is no longer listed stops accepting; its connections continue.
   */
  watch(signal: AbortSignal): AsyncIterable<readonly ListenAddress[]>;
}
