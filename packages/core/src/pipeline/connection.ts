import type { Endpoint } from '../transport/endpoint.ts';
import type { Backend, Route } from '../routes/route.ts';
import type { Connection, Transfer } from '../transport/transport.ts';

/** A fact as a connection carries it. */
export interface KnownFact {
  /** Of the type that the fact's name stands for. */
  readonly value: unknown;
  /** The value as the access log shows it; absent when it does not. */
  readonly shown?: string;
}

/** What is known of a connection when it has been accepted. Every later fact is a new value beside this one. */
export interface Accepted {
  /** Unique within the process; also the `id` of the access log. */
  readonly id: string;
  /** Name of the listener that accepted it: a metric label, bounded by configuration. */
  readonly listener: string;
  /** The client: who connected, until a filter finds out on whose behalf that was. */
  readonly remote: Endpoint;
  /** Who connected, when that is not the client but somebody in between; absent otherwise. */
  readonly peer?: Endpoint;
  /** Where the client connected: one address of the listener. */
  readonly local: Endpoint;
  /** When it was accepted, in milliseconds of the monotonic clock (`performance.now()`). */
  readonly at: number;
  /** What filters have learned, by the fact's name; read by {@link Fact.of}. Absent when they have learned nothing. */
  readonly facts?: ReadonlyMap<string, KnownFact>;
}

/** What the client said of itself before anything was decided. */
export interface Hello {
  /** The sniffer's name for what it recognised, for example `tls`. */
  readonly protocol: string;
  /** The name asked for: lower case, no trailing dot, a valid host name (RFC 6066, section 3). Absent when none was sent. */
  readonly serverName?: string;
  /** Protocols offered by ALPN (RFC 7301), as text, in the client's order. Absent, as the next three, where the protocol is not TLS. */
  readonly alpn?: readonly string[];
  /** TLS versions offered, newest form (`0x0304` is TLS 1.3), GREASE left out. */
  readonly supportedVersions?: readonly number[];
  /** Encrypted ClientHello was offered: `serverName` is then only the outer, public name. */
  readonly ech?: boolean;
  /** Early data was offered: bytes after the hello must not be sent to two backends. */
  readonly earlyData?: boolean;
  /**
   * An integer from 0 to 2^52 - 1 that every hop which sees this hello computes from it: joins what several proxies log of one connection.
   * Absent where the protocol has nothing of the kind.
   */
  readonly trace?: number;
}

/** A connection to a backend that stands. Whoever holds it owns it until it calls {@link Upstream.release}. */
export interface Upstream {
  /** The stream to the backend. */
  readonly connection: Connection;
  /** The route for which the backend was reached. */
  readonly route: Route;
  /** The backend that was chosen. */
  readonly backend: Backend;
  /** The address dialled: `backend.address` after name resolution. */
  readonly address: Endpoint;
  /** As {@link Hello.trace}, of the TLS that this proxy itself has begun towards the backend; absent where it has begun none. */
  readonly trace?: number;
  /** Goes before the bytes of the client, in one piece with the first of them; nothing when absent. */
  readonly preface?: Uint8Array;
  /**
   * Tells the connector how it ended, so that it can count active connections and judge the backend.
   * Obligation: called exactly once, when the splice has ended; or {@link Retry.reach} in its place.
   */
  release(transfer: Transfer): void;
  /** How another backend takes its place when it ends without an answer; absent where the route does not retry, or has nothing left to try. */
  readonly retry?: Retry;
}

/** The way from a backend that has not answered to the next one. */
export interface Retry {
  /** When it is too late for that, in milliseconds of the monotonic clock. */
  readonly untilMs: number;
  /** Gives the upstream back, as {@link Upstream.release} does, and reaches another. Rejects as a connector does; nothing is left to be given back then. */
  reach(transfer: Transfer): Promise<Upstream>;
}

/** `upstream` as `change` makes it, and whatever takes its place later, too: for layers. */
export function changedUpstream(upstream: Upstream, change: (upstream: Upstream) => Upstream): Upstream {
  const changed = change(upstream);
  const { retry } = upstream;
  if (retry === undefined) return changed;
  const reach = async (transfer: Transfer): Promise<Upstream> => changedUpstream(await retry.reach(transfer), change);
  return { ...changed, retry: { untilMs: retry.untilMs, reach } };
}

/** `upstream`, with something more to be done when it, or what takes its place, is given back for good. */
export function releasing(upstream: Upstream, done: () => void): Upstream {
  const { connection, route, backend, address, trace, preface, retry } = upstream;
  const release = (transfer: Transfer): void => {
    done();
    upstream.release(transfer);
  };
  const facts = { connection, route, backend, address, release };
  return {
    ...facts,
    ...(trace !== undefined && { trace }),
    ...(preface !== undefined && { preface }),
    ...(retry !== undefined && { retry: { untilMs: retry.untilMs, reach } }),
  };

  async function reach(transfer: Transfer): Promise<Upstream> {
    try {
      return releasing(await (retry as Retry).reach(transfer), done);
    } catch (reason) {
      done();
      throw reason;
    }
  }
}

/** What is sent to a backend first. */
export function withPreface({ preface }: Pick<Upstream, 'preface'>, head: Uint8Array): Uint8Array {
  return preface === undefined ? head : Buffer.concat([preface, head]);
}

/** Whether a part has given a hello: plugins are JavaScript, and what reads a hello relies on these two fields. */
export function isHello(value: unknown): value is Hello {
  if (typeof value !== 'object' || value === null) return false;
  const { protocol, serverName } = value as Partial<Hello>;
  return typeof protocol === 'string' && (serverName === undefined || typeof serverName === 'string');
}

/** A trace as logs and tables show it: 13 hexadecimal digits. */
export function formatTrace(trace: number): string {
  return trace.toString(16).padStart(13, '0');
}
