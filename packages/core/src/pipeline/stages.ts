import type { Accepted, Hello, Upstream } from './connection.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import { isHello } from './connection.ts';
import { ProxyError } from '../errors.ts';
import { foundPart } from '../lifecycle/part-shape.ts';
import type { ProxyErrorCode } from '../errors.ts';
import type { Backend, Route } from '../routes/route.ts';
import type { Connection, Dial, DialOptions } from '../transport/transport.ts';

/** A sniffer's decision on the bytes so far. */
export type Verdict =
  /** Recognised: everything needed for routing, and the rejection bytes of the protocol. */
  | { readonly kind: 'hello'; readonly hello: Hello; readonly rejections?: RejectionBytes }
  /** Undecided: call again with more bytes and with `progress`, so that no byte is parsed twice. */
  | { readonly kind: 'more'; readonly progress?: unknown }
  /** Another protocol: try the next sniffer. */
  | { readonly kind: 'pass' }
  /** This sniffer's protocol, but malformed: `reason` describes the error for people. */
  | { readonly kind: 'reject'; readonly reason: string };

/**
 * Bytes sent to the client, in the protocol of its hello, when the connection ends with one of these codes because no
 * route matches; for other codes nothing is sent. The bytes are never modified, so that all connections may share one
 * set.
 */
export type RejectionBytes = Readonly<Partial<Record<ProxyErrorCode, Uint8Array>>>;

/**
 * Recognises a protocol by its first bytes. Pure: the caller owns the socket, the deadline and the size limit. The
 * first sniffer that does not `pass` decides, and `more` blocks the others: pass on the first byte that excludes your
 * protocol.
 */
export interface Sniffer {
  /** Name in error messages. */
  readonly name: string;
  /**
   * Inspects the bytes so far. Called again with more of them after `more`.
   *
   * @param head all bytes received so far, at least one; valid only during the call, read-only
   * @param progress `progress` of this sniffer's last `more` for the same connection
   */
  inspect(head: Uint8Array, progress?: unknown): Verdict;
}

/** Finds the route for a hello. Synchronous: routing never waits. */
export interface Resolver {
  /** Returns the route, or `undefined` to leave the hello to the next resolver. Must not modify its arguments. */
  resolve(hello: Hello, from: Accepted): Route | undefined;
}

/** Options of a dial that a connector makes through its session. */
export interface ConnectDialOptions extends DialOptions {
  /**
   * Upgrades the new connection before the dial counts as successful: TLS, a header. It has the remaining time of the
   * dial, and its rejection fails the dial. The session closes the connection then, and also if the session ends in the
   * meantime.
   */
  readonly upgrade?: (connection: Connection, within: UpgradeTime) => Promise<Connection>;
}

/** Time limits of an upgrade. */
export interface UpgradeTime {
  /** In milliseconds; 0 if none is left. */
  readonly timeoutMs: number;
  /** Aborts when the connection is no longer needed; the reason is a `ProxyError`. */
  readonly signal: AbortSignal;
}

/** The session that a connector works for: its facts, and its way to dial. */
export interface ConnectContext {
  /** The client side. */
  readonly connection: Accepted;
  /** The client's hello. */
  readonly hello: Hello;
  /**
   * Aborts when the client is gone or the drain's grace period is over; the reason is a `ProxyError`. Created at the
   * first access, since it costs as much as a dial: connectors that only dial and read {@link abandoned} never need it.
   */
  readonly signal: AbortSignal;
  /** The abort reason of `signal`, without creating it: set once the backend is no longer needed. */
  readonly abandoned: ProxyError | undefined;
  /** Number of dials so far, of all connectors and layers of the session. */
  readonly attempts: number;
  /**
   * Dials `address`, one of the addresses of `backend`, through the listener's transport. The session counts the dial,
   * reports its failure as `dial.failed`, and cuts it when the backend is no longer needed. Concurrent dials are
   * allowed.
   *
   * The connector owns the resulting connection until it returns it in an {@link Upstream}, and closes connections that
   * it does not return; the session closes any that are left when it ends. A dial that was cut is not reported as
   * failed.
   */
  dial(backend: Backend, address: Endpoint, options: ConnectDialOptions): Dial;
}

/**
 * Returns `context` with `upgrade` added to every dial, before any upgrade that the dial requests itself. For layers.
 */
export function withUpgrade(
  context: ConnectContext,
  upgrade: NonNullable<ConnectDialOptions['upgrade']>,
): ConnectContext {
  return withDial(context, (backend, address, options) =>
    context.dial(backend, address, { ...options, upgrade: inTurn(upgrade, options.upgrade) }),
  );
}

/** Returns `context` with another `dial`; its signal is still created at the first access. */
export function withDial(context: ConnectContext, dial: ConnectContext['dial']): ConnectContext {
  return {
    connection: context.connection,
    hello: context.hello,
    get signal() {
      return context.signal;
    },
    get abandoned() {
      return context.abandoned;
    },
    get attempts() {
      return context.attempts;
    },
    dial,
  };
}

function inTurn(
  first: NonNullable<ConnectDialOptions['upgrade']>,
  second: ConnectDialOptions['upgrade'],
): NonNullable<ConnectDialOptions['upgrade']> {
  if (second === undefined) return first;
  return async (connection, { timeoutMs, signal }) => {
    const endsAt = performance.now() + timeoutMs;
    const upgraded = await first(connection, { timeoutMs, signal });
    return second(upgraded, { timeoutMs: Math.max(0, endsAt - performance.now()), signal });
  };
}

/** Connects to one of a route's backends. */
export interface Connector {
  /** The caller owns the upstream. Rejects with a `ProxyError`: `NO_BACKEND`, `CONNECT_*`, or the signal's reason. */
  connect(route: Route, context: ConnectContext): Promise<Upstream>;
}

/** Wraps a stage in a stage of the same kind. */
export type Layer<Stage> = (inner: Stage) => Stage;

/** Wraps `stage` in `layers`; the layer listed first is outermost and gets each call first. */
export function layered<Stage>(stage: Stage, layers: readonly Layer<Stage>[]): Stage {
  return layers.reduceRight((inner, layer) => layer(inner), stage);
}

/** Combines `resolvers`: they are called in order, and the first that returns a route decides. */
export function firstToKnow(resolvers: readonly Resolver[]): Resolver {
  const [only] = resolvers;
  if (only !== undefined && resolvers.length === 1) return only;
  return {
    resolve(hello, from) {
      for (const resolver of resolvers) {
        const route = resolver.resolve(hello, from);
        if (route !== undefined) return route;
      }
      return undefined;
    },
  };
}

/** Combines `sniffers`: called in order, the first that does not `pass` decides. If all pass, the result is `pass`. */
export function firstOf(sniffers: readonly Sniffer[]): Sniffer {
  const [only] = sniffers;
  if (only !== undefined && sniffers.length === 1) return only;
  return {
    name: 'first-of',
    inspect: (head, progress) => inspectInOrder(sniffers, head, progress as Waiting | undefined),
  };
}

/**
 * Calls `sniffer` and validates its verdict.
 *
 * @throws ProxyError `INTERNAL` that names the sniffer, if it throws or returns something other than a verdict
 */
export function inspected(sniffer: Sniffer, head: Uint8Array, progress: unknown): Verdict {
  try {
    const verdict: unknown = sniffer.inspect(head, progress);
    if (isVerdict(verdict)) return verdict;
    throw new TypeError(`expected a verdict, found ${foundPart(verdict)}`);
  } catch (reason) {
    throw ProxyError.from(reason, `sniffer ${sniffer.name}`);
  }
}

function isVerdict(value: unknown): value is Verdict {
  if (typeof value !== 'object' || value === null) return false;
  const { kind, hello, reason } = value as Partial<Record<'kind' | 'hello' | 'reason', unknown>>;
  if (kind === 'hello') return isHello(hello);
  return kind === 'more' || kind === 'pass' || (kind === 'reject' && typeof reason === 'string');
}

/** Index of the sniffer that needs more bytes, and its progress. */
interface Waiting {
  readonly index: number;
  readonly progress: unknown;
}

function inspectInOrder(sniffers: readonly Sniffer[], head: Uint8Array, waiting: Waiting | undefined): Verdict {
  for (const [index, sniffer] of sniffers.entries()) {
    if (waiting !== undefined && index < waiting.index) continue;
    const verdict = inspected(sniffer, head, index === waiting?.index ? waiting.progress : undefined);
    if (verdict.kind === 'more')
      return { kind: 'more', progress: { index, progress: verdict.progress } satisfies Waiting };
    if (verdict.kind !== 'pass') return verdict;
  }
  return { kind: 'pass' };
}
