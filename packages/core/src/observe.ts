import type { Accepted, Hello, Upstream } from './pipeline/connection.ts';
import type { Endpoint } from './transport/endpoint.ts';
import { errorOf } from './errors.ts';
import type { ProxyError } from './errors.ts';
import type { BackendDrain, HealthCheck, Route, RouteSnapshot } from './routes/route.ts';
import type { Transfer } from './transport/transport.ts';

/**
 * Everything worth a log line or a metric, in the past tense: a closed union. Times are monotonic milliseconds. All events of a
 * connection have the same object as `connection`: what an observer wants to remember of it, a `WeakMap` keeps best.
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
   * The backend has ended, or was lost for the reason `error`, before its first byte; another one is tried, and `connection.connected` or
   * `connection.closed` follows.
   */
  | {
      readonly type: 'connection.retried';
      readonly connection: Accepted;
      readonly upstream: ReachedBackend;
      readonly error?: ProxyError | undefined;
    }
  /** Exactly once for each `connection.accepted`. */
  | { readonly type: 'connection.closed'; readonly closed: ClosedConnection }
  /** Turned away at accept, before it became a connection: `error.code` is `CLIENT_DENIED` or `LIMIT_REACHED`. */
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
  /** An address of a backend was checked. `backend` and `address` differ when the backend is a name. */
  | {
      readonly type: 'backend.checked';
      readonly address: Endpoint;
      readonly check: HealthCheck;
      readonly passed: boolean;
      readonly tookMs: number;
    }
  /** Its health checks have failed: it is used only when nothing better is left. */
  | {
      readonly type: 'backend.down';
      readonly backend: Endpoint;
      readonly address: Endpoint;
      readonly check: HealthCheck;
      readonly reason: string;
    }
  /** Its health checks pass again. */
  | {
      readonly type: 'backend.up';
      readonly backend: Endpoint;
      readonly address: Endpoint;
      readonly check: HealthCheck;
      readonly downMs: number;
    }
  /** No route has it checked any more, or its name has lost this address. */
  | {
      readonly type: 'backend.unchecked';
      readonly backend: Endpoint;
      readonly address: Endpoint;
      readonly check: HealthCheck;
    }
  /**
   * A backend that has connections was removed from `route`, or is down, and the route does not keep them: those left when its grace is over
   * are closed.
   */
  | {
      readonly type: 'backend.departed';
      readonly route: Route;
      readonly backend: Endpoint;
      readonly why: 'removed' | 'down';
      readonly drain: BackendDrain;
      readonly connections: number;
    }
  /** A route with `failover` uses another priority group than before. */
  | {
      readonly type: 'route.failover';
      readonly route: Route;
      readonly priority: number;
      readonly previous: number;
    }
  /** A balance of a plugin threw, or chose none of the backends it was given: one of them was drawn at random. */
  | { readonly type: 'balance.failed'; readonly route: Route; readonly balance: string; readonly error: Error }
  /**
   * The network between here and `address` loses something: nothing fails for it, and connections wait. `family`: the addresses of one family do
   * not answer, and those of the other do. `large-segments`: what fills a packet is not acknowledged, and what does not was.
   */
  | {
      readonly type: 'path.impaired';
      readonly problem: 'family' | 'large-segments';
      readonly side: 'downstream' | 'upstream';
      readonly address: Endpoint;
      /** For people, with the probable cause. */
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
   * A source's snapshot is in use. `previous` is the one that it replaces, absent for the first; `removed` are the names of routes that no
   * source has any more.
   */
  | {
      readonly type: 'routes.replaced';
      readonly source: string;
      readonly snapshot: RouteSnapshot;
      readonly previous?: RouteSnapshot;
      readonly removed: readonly string[];
      readonly tookMs: number;
    }
  /** A source yielded a snapshot. `changed`: it differs from the one in use, and `routes.replaced` follows. `asOf`: when it was right. */
  | { readonly type: 'source.updated'; readonly source: string; readonly changed: boolean; readonly asOf: Date }
  /** A source threw; its last snapshot stays in use. */
  | { readonly type: 'source.failed'; readonly source: string; readonly error: Error; readonly retryInMs: number }
  /** A source yielded a malformed snapshot: it is refused whole, and the last good one stays in use. */
  | { readonly type: 'source.refused'; readonly source: string; readonly error: Error }
  /** A source is followed no more: a reload has taken it away. `removed` are the names of routes that no source has any more. */
  | {
      readonly type: 'source.removed';
      readonly source: string;
      /** The last that was in use of it; absent when it never had one. */
      readonly previous?: RouteSnapshot;
      readonly removed: readonly string[];
    }
  /** A certificate is in use by which this proxy proves who it is. A proxy that only passes TLS on has none. */
  | {
      readonly type: 'certificate.installed';
      readonly source: string;
      readonly certificate: OwnCertificate;
      /** By whose certificates others are believed from now on. */
      readonly authorities: readonly TrustedAuthority[];
    }
  /** The certificate in use is older than it should be, and no other has come from the source. Once for each `state`. */
  | {
      readonly type: 'certificate.aged';
      readonly source: string;
      readonly certificate: OwnCertificate;
      /** `overdue`: it should have been renewed by now. `expired`: peers refuse it. */
      readonly state: 'overdue' | 'expired';
    }
  /** A service failed, in its drain hook for example; everything else continues. */
  | { readonly type: 'service.failed'; readonly service: string; readonly error: Error }
  | { readonly type: 'drain.started'; readonly connections: number }
  | { readonly type: 'drain.ended'; readonly finished: number; readonly cut: number }
  /** An observer threw. It does not get this event itself. */
  | { readonly type: 'observer.threw'; readonly observer: string; readonly error: Error };

/** What this proxy shows of itself. */
export interface OwnCertificate {
  /** For people: whose it is, a SPIFFE URI in a mesh. */
  readonly identity: string;
  /** From then on peers refuse it. */
  readonly validUntil: Date;
}

/** Roots by which others are believed. */
export interface TrustedAuthority {
  /** Whose: `mesh`, or `peer beta`. */
  readonly name: string;
  /** When the last of its roots expires: nobody of it is believed from then on. */
  readonly validUntil: Date;
}

/** The backend of a connection, as facts: the stream itself is the session's, and nobody who is told of it may touch it. */
export type ReachedBackend = Pick<Upstream, 'route' | 'backend' | 'address' | 'trace'>;

/** The whole life of a connection: facts that it never reached are absent. */
export interface ClosedConnection {
  /** The same object as in every other event of it. */
  readonly connection: Accepted;
  /** The client's hello; absent when the connection ended before it was complete. */
  readonly hello?: Hello | undefined;
  /** When the hello was whole. */
  readonly helloAt?: number | undefined;
  /** The route as it was when it was chosen, whatever has replaced it since; absent when none matched. */
  readonly route?: Route | undefined;
  /** Present once a backend was reached. */
  readonly upstream?: ReachedBackend | undefined;
  /** When that backend was reached. */
  readonly connectedAt?: number | undefined;
  /** Dials made: 0 when it never came to that. */
  readonly attempts: number;
  /** How often another backend was tried because one had not answered; absent or 0: never. */
  readonly retries?: number | undefined;
  /** The address dialled last, reached or not; absent when it never came to that. */
  readonly dialled?: Endpoint | undefined;
  /** What was carried: no byte when it never came to that. */
  readonly transfer: Transfer;
  /** When the last of its sockets was closed. */
  readonly closedAt: number;
  /** Why it ended before its time; absent when both sides finished by themselves. */
  readonly error?: ProxyError | undefined;
}

/** Receives events. */
export interface Observer {
  /** Named in `observer.threw`. */
  readonly name?: string;
  /** Must not throw, must not wait, must not keep the event's objects longer than it needs them. */
  observe(event: ProxyEvent): void;
}

/**
 * All of `list` as one observer. One that throws, or answers with a promise that rejects, does not keep the others from hearing:
 * they get `observer.threw`, once for each observer and message, so that a broken observer cannot flood a log.
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
        answered(observer, observer.observe(event));
      } catch (reason) {
        report(observer, reason);
      }
    }
  }

  /** The compiler lets an `async` method stand for one that gives nothing: its rejection has no other reader. */
  function answered(observer: Observer, response: unknown): void {
    if (response instanceof Promise) response.catch((reason: unknown) => report(observer, reason));
  }

  function report(broken: Observer, reason: unknown): void {
    const error = errorOf(reason);
    const observer = broken.name ?? 'unnamed';
    const key = `${observer}: ${error.message}`;
    // Bounded: an observer whose message differs each time (a timestamp, a name) must not make this set grow for ever.
    if (reported.has(key) || reported.size >= 100) return;
    reported.add(key);
    for (const other of list) {
      if (other !== broken) notifyQuietly(other, { type: 'observer.threw', observer, error });
    }
  }
}

/** Observers that never throw, since they were made here: to be made safe once is enough. */
const SAFE = new WeakSet<Observer>();

/** An observer that fails at this event is reported with its own next failure: reporting it now could loop. */
function notifyQuietly(observer: Observer, event: ProxyEvent): void {
  try {
    const response: unknown = observer.observe(event);
    if (response instanceof Promise) response.catch(() => undefined);
  } catch {
    // See above.
  }
}
