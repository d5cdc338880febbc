import type { Endpoint } from '../transport/endpoint.ts';
import type { Backend, Route } from '../routes/route.ts';
import type { Connection, Transfer } from '../transport/transport.ts';

/** A fact as stored on a connection. */
export interface KnownFact {
  /** The value, of the type that the fact was declared with. */
  readonly value: unknown;
  /** The value in the access log; absent if the log omits it. */
  readonly shown?: string;
}

/** Facts known when a connection is accepted. Later facts are separate values. */
export interface Accepted {
  /** Unique within the process; also the `id` in the access log. */
  readonly id: string;
  /** Name of the listener that accepted the connection: a metric label, bounded by configuration. */
  readonly listener: string;
  /** Address of the client: the peer's address, unless a filter sets the real one. */
  readonly remote: Endpoint;
  /** Address of the peer, if a filter has set another `remote`: a proxy or load balancer in front. Absent otherwise. */
  readonly peer?: Endpoint;
  /** The address of the listener that the client connected to. */
  readonly local: Endpoint;
  /** Time of the accept, in milliseconds of the monotonic clock (`performance.now()`). */
  readonly at: number;
  /** Facts set by filters, by name; read them with {@link Fact.of}. Absent if there are none. */
  readonly facts?: ReadonlyMap<string, KnownFact>;
}

/** The client's first message, before any routing decision. */
export interface Hello {
  /** Name of the recognised protocol, for example `tls`. */
  readonly protocol: string;
  /**
   * Requested server name: a valid host name (RFC 6066, section 3), lower case, no trailing dot. Absent if not sent.
   */
  readonly serverName?: string;
  /** Protocols offered by ALPN (RFC 7301), in the client's order. Absent, like the next three, without TLS. */
  readonly alpn?: readonly string[];
  /** Offered TLS versions, in wire format (`0x0304` is TLS 1.3), without GREASE values. */
  readonly supportedVersions?: readonly number[];
  /** Whether Encrypted ClientHello was offered: `serverName` is then only the outer, public name. */
  readonly ech?: boolean;
  /** Whether early data was offered: bytes after the hello must then not be sent to two backends. */
  readonly earlyData?: boolean;
  /**
   * An integer from 0 to 2^52 - 1, computed from the hello, equal on every hop that forwards it: correlates the logs of
   * several proxies. Absent if the protocol has no such value.
   */
  readonly trace?: number;
}

/** An established connection to a backend. Its holder owns it until {@link Upstream.release}. */
export interface Upstream {
  /** The stream to the backend. */
  readonly connection: Connection;
  /** The route that led to the backend. */
  readonly route: Route;
  /** The selected backend. */
  readonly backend: Backend;
  /** The dialled address: `backend.address` after name resolution. */
  readonly address: Endpoint;
  /**
   * Like {@link Hello.trace}, for TLS that this proxy itself started towards the backend; absent if it started none.
   */
  readonly trace?: number;
  /** Bytes to send before those of the client, in one write with the first of them; none when absent. */
  readonly preface?: Uint8Array;
  /**
   * Reports the end to the connector, which counts active connections and judges backends by it. Must be called exactly
   * once, when the splice has ended, unless {@link Retry.reach} is called instead.
   */
  release(transfer: Transfer): void;
  /** Replaces this backend if it closes without sending a byte; absent if the route does not retry, or cannot. */
  readonly retry?: Retry;
}

/** A retry on another backend, after one that sent no byte. */
export interface Retry {
  /** Deadline of the retry, in milliseconds of the monotonic clock. */
  readonly untilMs: number;
  /**
   * Releases the present upstream, as {@link Upstream.release} does, and connects to another backend. Rejects like a
   * connector; nothing needs to be released then.
   */
  reach(transfer: Transfer): Promise<Upstream>;
}

/** Applies `change` to `upstream` and to every upstream that a retry puts in its place. For layers. */
export function changedUpstream(upstream: Upstream, change: (upstream: Upstream) => Upstream): Upstream {
  const changed = change(upstream);
  const { retry } = upstream;
  if (retry === undefined) return changed;
  const reach = async (transfer: Transfer): Promise<Upstream> => changedUpstream(await retry.reach(transfer), change);
  return { ...changed, retry: { untilMs: retry.untilMs, reach } };
}

/**
 * Returns `upstream` with a callback: `done` is called once, when this upstream, or the last one that a retry put in
 * its place, is released.
 */
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

/** Returns the first bytes for a backend: the preface, then the head. */
export function withPreface({ preface }: Pick<Upstream, 'preface'>, head: Uint8Array): Uint8Array {
  return preface === undefined ? head : Buffer.concat([preface, head]);
}

/** Whether `value` is a hello. Plugins may be plain JavaScript, and readers of a hello rely on these fields. */
export function isHello(value: unknown): value is Hello {
  if (typeof value !== 'object' || value === null) return false;
  const { protocol, serverName, alpn, trace } = value as Partial<Hello>;
  return (
    typeof protocol === 'string' &&
    (serverName === undefined || typeof serverName === 'string') &&
    (alpn === undefined || (Array.isArray(alpn) && alpn.every((one) => typeof one === 'string'))) &&
    (trace === undefined || Number.isSafeInteger(trace))
  );
}

/** Formats a trace for logs and tables: 13 hexadecimal digits. */
export function formatTrace(trace: number): string {
  return trace.toString(16).padStart(13, '0');
}
