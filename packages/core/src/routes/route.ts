import type { Endpoint } from '../transport/endpoint.ts';

/** One place that can serve a route. */
export interface Backend {
  /** The host may be a DNS name: all its addresses, A and AAAA, are then used. */
  readonly address: Endpoint;
  /** Share of the route's connections: an integer of 1 or more. */
  readonly weight: number;
  /** Advice, not proof: an unhealthy backend is dialled only when the route has no healthy one left. */
  readonly healthy: boolean;
  /**
   * Lower first: an integer of 0 or more, 0 when absent. Backends of a higher priority are backups, used when no healthy, non-ejected
   * backend of the lower ones can be reached.
   */
  readonly priority?: number;
  /** Where it stands, for a gateway that prefers some: `{ zone: 'a' }`. None when absent. */
  readonly labels?: Readonly<Record<string, string>>;
  /** In place of that of its route, which must have one too: `off` there is for routes of which only some backends are told of the client. */
  readonly proxyProtocol?: ProxyProtocolVersion | 'off';
}

/**
 * How the next backend is chosen. `least_connections` takes the less busy of two drawn at random; `client_hash` gives all connections
 * of one client to one backend, `name_hash` all connections for one server name.
 */
export type BuiltInBalance = 'round_robin' | 'least_connections' | 'random' | 'client_hash' | 'name_hash';

/** A built-in balance, or one that a plugin offers. */
export type Balance = BuiltInBalance | PartUse;

/** How backends are checked while nobody needs them. Equal checks of one backend, of several routes too, are one. */
export interface HealthCheck {
  /** `tcp`: it accepts a connection. `tls`: it answers a ClientHello with its ServerHello, too. */
  readonly kind: 'tcp' | 'tls';
  /** From the beginning of one check to that of the next, in milliseconds, a tenth more or less. */
  readonly intervalMs: number;
  /** A check that takes longer has failed, in milliseconds. */
  readonly timeoutMs: number;
  /** Checks in a row that pass until a backend that is down is up: 1 or more. */
  readonly rise: number;
  /** Checks in a row that fail until a backend that is up is down: 1 or more. The first check of all decides by itself. */
  readonly fall: number;
  /** The server name in the ClientHello; without one when absent. */
  readonly serverName?: string;
  /** After it was down, a backend gets its share of new connections only by and by, in milliseconds; at once when absent. */
  readonly slowStartMs?: number;
  /** When all backends of a route are down: `try` them all the same, the default, or `refuse` its connections. */
  readonly whenAllDown?: 'try' | 'refuse';
}

/** When the next priority group takes over, and when the lower one gets its connections back. */
export interface Failover {
  /** A group with fewer healthy backends than this is out of service: 1 or more. Of a smaller group all of them are needed. */
  readonly minHealthy: number;
  /** A group is used again when it has had enough for this long, in milliseconds, from the first connection that finds it so; 0 when absent. */
  readonly returnAfterMs?: number;
}

/** A route to wherever its clients ask for, within its `serverNames`. */
export interface Egress {
  /** The port that is dialled: 1 to 65535. */
  readonly port: number;
  /** Networks, or single addresses, that are dialled although they are not public; none when absent. */
  readonly allowAddresses?: readonly string[];
}

/** How the connections of a backend are closed that its route has lost. */
export interface BackendDrain {
  /** How long they may go on, in milliseconds; 0: not at all. */
  readonly graceMs: number;
  /** Period over which those left are then closed, in milliseconds: not at once, so that their clients do not all come back at once. */
  readonly spreadMs: number;
}

/** TCP keepalive (RFC 1122, section 4.2.3.6). */
export interface KeepAlive {
  /** Silence before the first probe, in milliseconds. */
  readonly idleMs: number;
  /** Between probes, in milliseconds. The system's default when absent, or where the transport cannot set it. */
  readonly intervalMs?: number;
  /** Probes without an answer before the connection is given up. The system's default when absent, as above. */
  readonly probes?: number;
  /**
   * Longest time, in milliseconds, that bytes we have sent may stay unacknowledged, which no probe looks after; and that a receiver may
   * take none (RFC 5482; tcp(7), `TCP_USER_TIMEOUT`). What the probes take together when absent; 0: the system's own. Not on transports
   * that cannot set it.
   */
  readonly userTimeoutMs?: number;
}

/** Which clients may connect, by their address: that of the PROXY protocol where a listener takes it. A client that is denied may not. */
export interface AccessRules {
  /** Addresses and blocks, or `unix` for clients of unix sockets: nobody else may connect. All clients when absent, and no `allowFile`. */
  readonly allow?: readonly string[];
  /** These may not, even if they are allowed. */
  readonly deny?: readonly string[];
  /** Path of a file with one entry a line, beside those of `allow`. Absolute; followed while it changes. */
  readonly allowFile?: string;
  /** The same for `deny`. */
  readonly denyFile?: string;
}

/** How many may come in how long: a token bucket of `count` tokens, which is full again after `perMs`. */
export interface Rate {
  /** Above 0. */
  readonly count: number;
  /** In milliseconds, above 0. */
  readonly perMs: number;
}

/** What the connections of one route may spend. Routes of equal name share it, over snapshots. */
export interface RouteLimits {
  /** Connections at a time; more end with `LIMIT_REACHED`. No limit when absent. */
  readonly connections?: number;
  /** New connections; more end with `LIMIT_REACHED`. No limit when absent. */
  readonly rate?: Rate;
  /** Connections at a time to one backend; when it has them, the next one is taken, then those of a higher priority. No limit when absent. */
  readonly perBackend?: number;
  /** As `Limits.maxAgeMs`, in place of that of the proxy. */
  readonly maxAgeMs?: number;
  /** As `Limits.idleTimeoutMs`, in place of that of the proxy. */
  readonly idleTimeoutMs?: number;
  /** As `Limits.halfCloseTimeoutMs`, in place of that of the proxy. */
  readonly halfCloseTimeoutMs?: number;
}

/** A version of the PROXY protocol (HAProxy, doc/proxy-protocol.txt): a line of text, or binary with more to say. */
export type ProxyProtocolVersion = 'v1' | 'v2';

/** Where connections for some names go. */
export interface Route {
  /** Metric label and log field: unique within its snapshot and stable over time, chosen by configuration, never by a client. */
  readonly name: string;
  /** What made it, for people and for metrics: `static`, `local-service`, `remote-datacenter` … A short list, bounded by the source. */
  readonly kind?: string;
  /**
   * The names that lead here: exact (`api.example.com`), `*.suffix` (one or more labels before the suffix; the suffix itself
   * does not match), or `*` for any name. Lower case, no trailing dot. Matching is the route table's, never the source's.
   */
  readonly serverNames: readonly string[];
  /**
   * Names of the listeners for whose connections the route holds; all of them when absent. For one listener a route that names it goes
   * before one that holds for all, where both claim the same name.
   */
  readonly listeners?: readonly string[];
  /**
   * Also takes clients that send no server name, or speak no protocol that a sniffer knows. `serverNames` may then be empty. Not for clients
   * that send a name which no route takes: `*` takes those.
   */
  readonly fallback?: boolean;
  /** May be empty: connections then end with {@link Route.withoutBackend}. */
  readonly backends: readonly Backend[];
  /** What connections end with while there is no backend; `NO_BACKEND` when absent. `NO_GATEWAY`: the backends are other gateways. */
  readonly withoutBackend?: 'NO_BACKEND' | 'NO_GATEWAY';
  /** `round_robin` when absent. */
  readonly balance?: Balance;
  /** When a backup takes over, and for how long; as {@link Backend.priority} says when absent. */
  readonly failover?: Failover;
  /**
   * Leads to the server name itself, instead of to `backends`, which are then empty. `serverNames` are what clients may ask for: exact
   * names and suffixes, never `*`.
   */
  readonly egress?: Egress;
  /** How its backends are checked; not at all when absent. */
  readonly healthCheck?: HealthCheck;
  /** From the first dial to an established connection, all attempts together, in milliseconds. The proxy's limit when absent. */
  readonly connectTimeoutMs?: number;
  /**
   * A backend that ends or resets a connection before its first byte, while the client has sent nothing but its hello, is not the last word:
   * another one gets the hello, within the dials and the connect timeout of the connection. Never when the hello offers early data. `false` when absent.
   */
  readonly retryBeforeFirstByte?: boolean;
  /**
   * A reset by either side ends a connection well once the backend has answered: for protocols whose peers close without reading what
   * is still on its way, such as the gossip of Consul's servers. `false` when absent: a reset is a failure.
   */
  readonly resetsEndWell?: boolean;
  /**
   * What becomes of connections to a backend that a new snapshot does not have any more, or that go by a route which is gone: they end with
   * `BACKEND_REMOVED`. They live on when absent.
   */
  readonly onBackendRemoved?: BackendDrain;
  /** The same when a backend is down: by its health checks, or since its source calls it unhealthy. They live on when absent. */
  readonly onBackendDown?: BackendDrain;
  /** Keepalive towards the backends. The proxy's own setting when absent. */
  readonly keepAlive?: KeepAlive;
  /** Which clients may use the route. All when absent. */
  readonly access?: AccessRules;
  /** What its connections may spend, beside the limits of the proxy. */
  readonly limits?: RouteLimits;
  /**
   * Backends are told on whose behalf they are dialled: by a header of the PROXY protocol, of this version; `off`: only those that say so
   * themselves. None of them when absent.
   */
  readonly proxyProtocol?: ProxyProtocolVersion | 'off';
  /** Layers around the way to its backends, offered by plugins; the first is outermost, inside those of all routes. None when absent. */
  readonly use?: readonly PartUse[];
  /** Why this route exists, as facts for `explain`: for example `{ service: 'db', subset: 'v1', datacenter: 'dc2' }`. */
  readonly origin?: Readonly<Record<string, string>>;
}

/** A part of a plugin that a route uses, by the name under which it is offered. */
export interface PartUse {
  readonly name: string;
  /** The plugin's own to parse. Plain data: it may be kept on disk, and goes to other processes. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Where it is written, for problems; absent when it is in no file. */
  readonly at?: { readonly file: string; readonly line: number; readonly column: number };
}

/** Everything that a source knows at one moment. */
export interface RouteSnapshot {
  /** Equal versions mean equal routes: a snapshot whose version is the one in use is ignored. */
  readonly version: string;
  /** All of them: a route that is not here is gone. */
  readonly routes: readonly Route[];
  /**
   * When this was known to be right, if that is not now: a snapshot stored by an earlier run of the process, or the last good one of a
   * source whose present state is unusable. `warnings` then say why.
   */
  readonly asOf?: Date;
  /**
   * What is wrong with the source at the moment although it still serves, one sentence each: «token lacks node:read»,
   * «agent unreachable since …, routes are the last good ones». Shown by `/ready`, the log and the metrics.
   */
  readonly warnings?: readonly string[];
}

/** Where routes come from. Anybody can write one; `describeRouteSource` of the testkit says whether it keeps its promises. */
export interface RouteSource {
  /** Unique within the proxy; a metric label. */
  readonly name: string;
  /**
   * Yields the whole set: once when first known, then at each change. What has been yielded is never mutated.
   *
   * Returns when `signal` aborts, and leaves nothing behind: no timer, no socket. Throwing means "restart": the last
   * snapshot stays in use, and `watch` is called again after a growing pause.
   */
  watch(signal: AbortSignal): AsyncIterable<RouteSnapshot>;
}

/** An address to listen on. */
export interface ListenAddress {
  /** Unique within the proxy; a metric label. */
  readonly name: string;
  /** Where to listen; port 0 is any free one. */
  readonly endpoint: Endpoint;
  /**
   * Addresses by which others reach it, beside those of this machine: of a NAT or a load balancer before it. A dial to one of them would come
   * back, and is refused.
   */
  readonly advertised?: readonly Endpoint[];
  /** Which clients may connect. All when absent. */
  readonly access?: AccessRules;
}

/** Where listeners come from when configuration does not fix them. The same obligations as {@link RouteSource}. */
export interface ListenerSource {
  readonly name: string;
  /** Yields the whole set at each change. A listener that is no longer listed stops accepting; its connections live on. */
  watch(signal: AbortSignal): AsyncIterable<readonly ListenAddress[]>;
}
