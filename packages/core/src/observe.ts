import type { Accepted, Hello, Upstream } from './pipeline/connection.ts';
import type { Endpoint } from './transport/endpoint.ts';
import { errorOf, ifRejected } from './errors.ts';
import type { ProxyError } from './errors.ts';
import type { BackendDrain, HealthCheck, Route, RouteSnapshot } from './routes/route.ts';
import type { Transfer } from './transport/transport.ts';

/**
 * Everything worth a log line or a metric, in the past tense: a closed union. Times are monotonic milliseconds. All
 * events of a connection carry the same object as `connection`: an observer keeps state per connection best in a
 * `WeakMap` with that key.
 */
export type ProxyEvent =
  | { readonly type: 'connection.accepted'; readonly connection: Accepted }
  | { readonly type: 'connection.sniffed'; readonly connection: Accepted; readonly hello: Hello; readonly at: number }
  | { readonly type: 'connection.routed'; readonly connection: Accepted; readonly route: Route }
  | {
      readonly type: 'connection.connected';
      readonly connection: Accepted;
      readonly upstream: ReachedBackend;
      readonly at: number;
    }
  /**
   * The backend closed, or failed with `error`, before its first byte. Another backend is tried; `connection.connected`
   * or `connection.closed` follows.
   */
  | {
      readonly type: 'connection.retried';
      readonly connection: Accepted;
      readonly upstream: ReachedBackend;
      readonly error?: ProxyError | undefined;
    }
  /** Emitted exactly once for each `connection.accepted`. */
  | { readonly type: 'connection.closed'; readonly closed: ClosedConnection }
  /** Refused at accept, before it became a session: `error.code` is `CLIENT_DENIED` or `LIMIT_REACHED`. */
  | {
      readonly type: 'connection.refused';
      readonly listener: string;
      readonly remote: Endpoint;
      readonly error: ProxyError;
    }
  | {
      readonly type: 'dial.failed';
      readonly connection: Accepted;
      readonly route: Route;
      readonly address: Endpoint;
      readonly error: ProxyError;
    }
  | { readonly type: 'backend.ejected'; readonly address: Endpoint; readonly forMs: number; readonly failures: number }
  | { readonly type: 'backend.returned'; readonly address: Endpoint }
  /** A health check of one address of a backend ended. `backend` and `address` differ if the backend is a DNS name. */
  | {
      readonly type: 'backend.checked';
      readonly address: Endpoint;
      readonly check: HealthCheck;
      readonly passed: boolean;
      readonly tookMs: number;
    }
  /** The health checks of an address failed: it is dialled only when nothing better is left. */
  | {
      readonly type: 'backend.down';
      readonly backend: Endpoint;
      readonly address: Endpoint;
      readonly check: HealthCheck;
      readonly reason: string;
    }
  /** The health checks of an address pass again. */
  | {
      readonly type: 'backend.up';
      readonly backend: Endpoint;
      readonly address: Endpoint;
      readonly check: HealthCheck;
      readonly downMs: number;
    }
  /** An address is no longer checked: no route needs the check, or the DNS name no longer has the address. */
  | {
      readonly type: 'backend.unchecked';
      readonly backend: Endpoint;
      readonly address: Endpoint;
      readonly check: HealthCheck;
    }
  /**
   * A backend with connections was removed from `route` or went down, and the route closes such connections: those left
   * after the grace period are closed.
   */
  | {
      readonly type: 'backend.departed';
      readonly route: Route;
      readonly backend: Endpoint;
      readonly why: 'removed' | 'down';
      readonly drain: BackendDrain;
      readonly connections: number;
    }
  /** A route with `failover` switched to another priority group. */
  | {
      readonly type: 'route.failover';
      readonly route: Route;
      readonly priority: number;
      readonly previous: number;
    }
  /** A plugin's balance threw, or returned none of the offered backends: a backend was drawn at random instead. */
  | { readonly type: 'balance.failed'; readonly route: Route; readonly balance: string; readonly error: Error }
  /**
   * The network path to `address` loses packets silently: connections hang instead of failing. `family`: the addresses
   * of one IP family do not answer, those of the other do. `large-segments`: full-size segments are not acknowledged,
   * smaller ones are.
   */
  | {
      readonly type: 'path.impaired';
      readonly problem: 'family' | 'large-segments';
      readonly side: 'downstream' | 'upstream';
      readonly address: Endpoint;
      /** Description for people, with the probable cause. */
      readonly reason: string;
    }
  | { readonly type: 'resolution.failed'; readonly host: string; readonly error: Error; readonly lastGood: boolean }
  | { readonly type: 'listener.opened'; readonly listener: string; readonly address: Endpoint }
  | {
      readonly type: 'listener.failed';
      readonly listener: string;
      readonly address: Endpoint;
      readonly error: Error;
      readonly retryInMs: number;
    }
  | { readonly type: 'listener.paused'; readonly listener: string; readonly reason: Error }
  | { readonly type: 'listener.resumed'; readonly listener: string }
  | { readonly type: 'listener.closed'; readonly listener: string }
  /**
   * A source's snapshot is now in use. `previous`: the snapshot that it replaces, absent for the first. `removed`:
   * names of the routes that no source has any more.
   */
  | {
      readonly type: 'routes.replaced';
      readonly source: string;
      readonly snapshot: RouteSnapshot;
      readonly previous?: RouteSnapshot;
      readonly removed: readonly string[];
      readonly tookMs: number;
    }
  /**
   * A source yielded a snapshot. `changed`: it differs from the one in use, and `routes.replaced` follows. `asOf`: the
   * time at which it was known to be correct.
   */
  | { readonly type: 'source.updated'; readonly source: string; readonly changed: boolean; readonly asOf: Date }
  /** A source threw; its last snapshot stays in use. */
  | { readonly type: 'source.failed'; readonly source: string; readonly error: Error; readonly retryInMs: number }
  /** A source yielded a malformed snapshot: it is refused as a whole, and the last good one stays in use. */
  | { readonly type: 'source.refused'; readonly source: string; readonly error: Error }
  /** A reload removed a source. `removed`: names of the routes that no source has any more. */
  | {
      readonly type: 'source.removed';
      readonly source: string;
      /** The source's last snapshot in use; absent if it never had one. */
      readonly previous?: RouteSnapshot;
      readonly removed: readonly string[];
    }
  /** A certificate that this proxy presents is now in use. A proxy that only passes TLS through has none. */
  | {
      readonly type: 'certificate.installed';
      readonly source: string;
      readonly certificate: OwnCertificate;
      /** Authorities whose certificates are trusted from now on. */
      readonly authorities: readonly TrustedAuthority[];
    }
  /** The certificate in use is too old, and the source has provided no other. Emitted once for each `state`. */
  | {
      readonly type: 'certificate.aged';
      readonly source: string;
      readonly certificate: OwnCertificate;
      /** `overdue`: its renewal is due. `expired`: peers refuse it. */
      readonly state: 'overdue' | 'expired';
    }
  /** A service failed, for example in its drain hook; everything else continues. */
  | { readonly type: 'service.failed'; readonly service: string; readonly error: Error }
  | { readonly type: 'drain.started'; readonly connections: number }
  | { readonly type: 'drain.ended'; readonly finished: number; readonly cut: number }
  /** An observer threw. The observer itself does not get this event. */
  | { readonly type: 'observer.threw'; readonly observer: string; readonly error: Error };

/** A certificate that this proxy presents. */
export interface OwnCertificate {
  /** The identity for people: a SPIFFE URI in a mesh. */
  readonly identity: string;
  /** Expiry: peers refuse the certificate afterwards. */
  readonly validUntil: Date;
}

/** An authority whose roots are trusted. */
export interface TrustedAuthority {
  /** Name of the authority: `mesh`, or `peer beta`. */
  readonly name: string;
  /** Expiry of its last root: no certificate of this authority is trusted afterwards. */
  readonly validUntil: Date;
}

/** The backend of a connection, without its stream: only the session may touch that. */
export type ReachedBackend = Pick<Upstream, 'route' | 'backend' | 'address' | 'trace'>;

/** The whole life of a connection. Facts of stages that it never reached are absent. */
export interface ClosedConnection {
  /** The same object as in every other event of this connection. */
  readonly connection: Accepted;
  /** The client's hello; absent if the connection ended before it was complete. */
  readonly hello?: Hello | undefined;
  /** Time at which the hello was complete. */
  readonly helloAt?: number | undefined;
  /** The route as it was when it was selected, even if a newer snapshot has replaced it; absent if none matched. */
  readonly route?: Route | undefined;
  /** The backend; absent if none was reached. */
  readonly upstream?: ReachedBackend | undefined;
  /** Time at which that backend was reached. */
  readonly connectedAt?: number | undefined;
  /** Number of dials; 0 if there was none. */
  readonly attempts: number;
  /** Number of retries on another backend because one sent no byte; absent or 0: none. */
  readonly retries?: number | undefined;
  /** The address dialled last, whether reached or not; absent if there was no dial. */
  readonly dialled?: Endpoint | undefined;
  /** Bytes carried in each direction; 0 if nothing was spliced. */
  readonly transfer: Transfer;
  /** Time at which the last of its sockets was closed. */
  readonly closedAt: number;
  /** Reason for an abnormal end; absent if both sides finished by themselves. */
  readonly error?: ProxyError | undefined;
}

/** Receives events. */
export interface Observer {
  /** Name in `observer.threw`. */
  readonly name?: string;
  /** Handles one event, synchronously. Must not throw and must not keep the event's objects longer than needed. */
  observe(event: ProxyEvent): void;
}

/**
 * Combines `list` into one observer. If one throws, or returns a promise that rejects, the others still get the event,
 * and then `observer.threw`: once for each observer and message, so that a broken observer cannot flood a log.
 */
export function observers(list: readonly Observer[]): Observer {
  const [only] = list;
  if (only !== undefined && list.length === 1 && SAFE.has(only)) return only;
  const reported = new Set<string>();
  const safe: Observer = { name: 'observers', observe };
  SAFE.add(safe);
  return safe;

  function observe(event: ProxyEvent): void {
    for (const observer of list) {
      try {
        // TypeScript accepts an `async` method as `observe`; nothing else would handle its rejection.
        ifRejected(observer.observe(event), (reason) => report(observer, reason));
      } catch (reason) {
        report(observer, reason);
      }
    }
  }

  function report(broken: Observer, reason: unknown): void {
    const error = errorOf(reason);
    const observer = nameOf(broken);
    const key = `${observer}: ${error.message}`;
    // Bounded: messages that differ each time (with a timestamp, a name) must not grow this set without limit.
    if (reported.has(key) || reported.size >= 100) return;
    reported.add(key);
    for (const other of list) {
      if (other !== broken) notifyQuietly(other, { type: 'observer.threw', observer, error });
    }
  }
}

/** Plugins may be plain JavaScript: the name may be a symbol, or a getter that throws. */
function nameOf(observer: Observer): string {
  try {
    const { name } = observer;
    return typeof name === 'string' ? name : 'unnamed';
  } catch {
    return 'unnamed';
  }
}

/** Observers made by {@link observers}: they never throw, and need no second wrapper. */
const SAFE = new WeakSet<Observer>();

/** Ignores a failure of `observer` at this event: reporting it could loop. */
function notifyQuietly(observer: Observer, event: ProxyEvent): void {
  try {
    ifRejected(observer.observe(event), () => undefined);
  } catch {
    // Ignored, see above.
  }
}
