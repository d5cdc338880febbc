import type { Accepted, Hello, Upstream } from './connection.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import { isHello } from './connection.ts';
import { ProxyError } from '../errors.ts';
import type { ProxyErrorCode } from '../errors.ts';
import type { Backend, Route } from '../routes/route.ts';
import type { Connection, Dial, DialOptions } from '../transport/transport.ts';

/** A judgement on the bytes so far. */
export type Verdict =
  /** Recognised: everything there is to know before routing, and how to say in its protocol that it ends here. */
  | { readonly kind: 'hello'; readonly hello: Hello; readonly rejections?: RejectionBytes }
  /** Undecided: ask again with more bytes. `progress` is handed back then, so that no byte is judged twice. */
  | { readonly kind: 'more'; readonly progress?: unknown }
  /** Not mine: ask the next sniffer. */
  | { readonly kind: 'pass' }
  /** Mine, and broken: `reason` says for people what is wrong. */
  | { readonly kind: 'reject'; readonly reason: string };

/**
 * What a client is told, in the protocol of its hello, when its name leads nowhere and the connection ends with one of these
 * codes; of others it is told nothing. The bytes are never changed, so that one set may serve all connections.
 */
export type RejectionBytes = Readonly<Partial<Record<ProxyErrorCode, Uint8Array>>>;

/**
 * Recognises a protocol by its first bytes. Pure: somebody else owns the socket, the deadline and the size limit.
 * The first sniffer that does not `pass` decides, and its `more` makes the others wait: pass on the first byte that rules you out.
 */
export interface Sniffer {
  readonly name: string;
  /**
   * Judges the bytes so far. Called again with more of them after a `more`.
   *
   * @param head all bytes received so far, at least one, from the first; not to be kept or changed
   * @param progress what this sniffer's last `more` for the same connection carried
   */
  inspect(head: Uint8Array, progress?: unknown): Verdict;
}

/** Finds the route of a hello. Synchronous: routing never waits. */
export interface Resolver {
  resolve(hello: Hello, from: Accepted): Route | undefined;
}

/** Settings of a dial that a session makes for a connector. */
export interface ConnectDialOptions extends DialOptions {
  /**
   * Puts something over the new connection before it counts as reached: TLS, a header. Its time is what is left of the dial's; a
   * rejection is a dial that failed. The connection is closed then, and when the session ends meanwhile.
   */
  readonly upgrade?: (connection: Connection, within: UpgradeTime) => Promise<Connection>;
}

/** How long an upgrade may take. */
export interface UpgradeTime {
  /** Milliseconds; 0 when none is left. */
  readonly timeoutMs: number;
  /** Aborts when nobody waits for the connection any more; its reason is a `ProxyError`. */
  readonly signal: AbortSignal;
}

/** What a connector knows of the session for which it reaches a backend, and how it dials. */
export interface ConnectContext {
  /** The client's side. */
  readonly connection: Accepted;
  /** What the client asked for. */
  readonly hello: Hello;
  /**
   * Aborts when the client is gone or the drain's grace is over; its reason is a `ProxyError`. Made when it is first asked for:
   * a connector that only dials, and reads {@link abandoned}, never needs it, and it costs as much as a dial.
   */
  readonly signal: AbortSignal;
  /** The reason with which `signal` has aborted, or would have: nobody waits for the backend any more. */
  readonly abandoned: ProxyError | undefined;
  /** Dials so far, of all connectors and layers of the session together. */
  readonly attempts: number;
  /**
   * Dials `address`, one of those of `backend`, by the transport of the listener. The session counts the dial, reports its failure
   * as `dial.failed`, and cuts it when nobody waits for it any more; several may be under way at once.
   *
   * The connector owns what a dial gives until it hands it over as an {@link Upstream}, and closes what it does not hand over; the
   * session closes what is left when it ends. A dial that is cut is not reported as failed.
   */
  dial(backend: Backend, address: Endpoint, options: ConnectDialOptions): Dial;
}

/** `context`, whose dials also do `upgrade`, before anything else that is put over their connections: for layers. */
export function withUpgrade(
  context: ConnectContext,
  upgrade: NonNullable<ConnectDialOptions['upgrade']>,
): ConnectContext {
  return withDial(context, (backend, address, options) =>
    context.dial(backend, address, { ...options, upgrade: inTurn(upgrade, options.upgrade) }),
  );
}

/** `context` with another `dial`; its signal is still made only when it is asked for. */
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

/** Reaches one of a route's backends. */
export interface Connector {
  /** The caller owns what it gets. Rejects with a `ProxyError`: `NO_BACKEND`, `CONNECT_*`, or the signal's reason. */
  connect(route: Route, context: ConnectContext): Promise<Upstream>;
}

/** Wraps a stage in a stage of the same kind. */
export type Layer<Stage> = (inner: Stage) => Stage;

/** `stage` wrapped in `layers`; the layer listed first is outermost and sees a call first. */
export function layered<Stage>(stage: Stage, layers: readonly Layer<Stage>[]): Stage {
  return layers.reduceRight((inner, layer) => layer(inner), stage);
}

/** Asks `resolvers` in order; the first that knows a route decides. */
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

/** Asks `sniffers` in order; the first that does not `pass` decides. All passing is a `pass`. */
export function firstOf(sniffers: readonly Sniffer[]): Sniffer {
  const [only] = sniffers;
  if (only !== undefined && sniffers.length === 1) return only;
  return {
    name: 'first-of',
    inspect: (head, progress) => inspectInOrder(sniffers, head, progress as Waiting | undefined),
  };
}

/**
 * What `sniffer` says of `head`.
 *
 * @throws ProxyError `INTERNAL` that names the sniffer when it throws, or answers with something that is no verdict
 */
export function inspected(sniffer: Sniffer, head: Uint8Array, progress: unknown): Verdict {
  let verdict: unknown;
  try {
    verdict = sniffer.inspect(head, progress);
  } catch (reason) {
    throw ProxyError.from(reason, `sniffer ${sniffer.name}`);
  }
  if (isVerdict(verdict)) return verdict;
  throw new ProxyError('INTERNAL', `sniffer ${sniffer.name}: expected a verdict, found none`);
}

function isVerdict(value: unknown): value is Verdict {
  if (typeof value !== 'object' || value === null) return false;
  const { kind, hello } = value as { readonly kind?: unknown; readonly hello?: unknown };
  return kind === 'hello' ? isHello(hello) : kind === 'more' || kind === 'pass' || kind === 'reject';
}

/** Which of several sniffers asked for more bytes, and what it has seen. */
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
