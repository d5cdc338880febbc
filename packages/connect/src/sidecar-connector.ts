import { ProxyError } from '@meshgate/core';
import type { ConnectContext, ConnectDialOptions, Connector, Route, Upstream } from '@meshgate/core';
import { balancedConnector, RecentlyUsed } from '@meshgate/core/parts';
import type { BalancedConnector, ConnectorOptions, Outliers } from '@meshgate/core/parts';
import type { Authorizer, PassiveHealthCheck } from '@meshgate/mesh';
import { beginMutualTls, distrustOf, traceOver } from './client-handshake.ts';
import { ejectionBy } from './ejection.ts';
import type { IdentityStore } from './identity-store.ts';
import { PLAIN_TEXT } from './permissive.ts';
import { CALLER } from './server-handshake.ts';
import type { ExpectedServer } from './server-identity.ts';
import { destinationOf } from './sidecar-routes.ts';
import type { SidecarTarget, Leg } from './sidecar-routes.ts';

/** What {@link sidecarConnector} is made of, beside what every connector is. */
export interface SidecarConnectorOptions extends ConnectorOptions {
  /** What this proxy shows to the servers that it reaches. */
  readonly identity: Pick<IdentityStore, 'current'>;
  /** Decides whether the application behind this proxy may be called. */
  readonly authorizer: Authorizer;
}

/**
 * Reaches the application for callers that may connect, in the clear; and upstreams, by mutual TLS with the identity verified:
 * one target after the other, and of each one address after the other, until a handshake succeeds.
 */
export function sidecarConnector(options: SidecarConnectorOptions): Connector {
  const toApplication = balancedConnector({ ...options, outliers: options.outliers.apart() });
  const toUpstream = new UpstreamConnectors(options);
  return { connect };

  async function connect(route: Route, context: ConnectContext): Promise<Upstream> {
    const destination = destinationOf(route);
    if (destination === undefined) throw new ProxyError('INTERNAL', `route ${route.name} is none of a sidecar`);
    if (destination.kind === 'upstream') return toUpstream.connect(route, destination, context);
    await authorized(destination.service, context, options.authorizer);
    if (route.backends.length === 0) throw new ProxyError('NO_BACKEND', NO_APPLICATION);
    return toApplication.connect(route, context);
  }
}

const NO_APPLICATION =
  'the definition of the proxy names no local_service_port: there is no application to hand this to';

async function authorized(service: string, context: ConnectContext, authorizer: Authorizer): Promise<void> {
  const { connection } = context;
  const caller = CALLER.of(connection);
  // Nobody can say who it is: that such callers are let in is what the operator has asked for.
  if (caller === undefined && PLAIN_TEXT.of(connection) === true) return;
  if (caller === undefined)
    throw new ProxyError(
      'DOWNSTREAM_UNTRUSTED',
      'expected a client with a certificate, found one that was never asked',
    );
  // Not with the signal of the connection, which is made for those who ask for it.
  const { allowed, reason } = await authorizer.authorize(caller, { destination: service }).catch((cause: unknown) => {
    throw context.abandoned ?? unable(`whether ${caller.uri} may connect to ${service}`, cause);
  });
  if (!allowed) throw new ProxyError('DENIED', `${caller.uri} may not connect to ${service}: ${reason}`);
}

function unable(what: string, cause: unknown): ProxyError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new ProxyError('AUTHORIZATION_FAILED', `${what} could not be found out: ${why}`, { cause });
}

interface ToServer {
  readonly connector: BalancedConnector;
  /** What only it knows of addresses. */
  readonly own: Outliers | undefined;
}

type ToUpstream = Extract<SidecarTarget, { readonly kind: 'upstream' }>;

/**
 * One balanced connector for each server that is expected somewhere: what it has learned outlives a change of routes, as long as somebody
 * connects to the server. All upstreams share what is known of addresses, but those with a `PassiveHealthCheck`.
 */
class UpstreamConnectors {
  readonly #options: SidecarConnectorOptions;
  readonly #outliers: SidecarConnectorOptions['outliers'];
  readonly #connectors = new RecentlyUsed<ToServer>({ onForgotten: ({ own }) => own?.end() });

  constructor(options: SidecarConnectorOptions) {
    this.#options = options;
    this.#outliers = options.outliers.apart();
  }

  async connect({ name }: Route, to: ToUpstream, context: ConnectContext): Promise<Upstream> {
    const { legs, refusal, passiveHealthCheck } = to;
    const identity = this.#options.identity.current;
    if (identity === undefined) throw noCertificate();
    const failures: ProxyError[] = [];
    const endsAt = performance.now() + this.#timeFor(legs);
    for (const [index, { route, server, unreachableReason, withoutBackend }] of legs.entries()) {
      if (unreachableReason !== undefined) {
        failures.push(new ProxyError(withoutBackend, `${name}: ${unreachableReason}`));
        continue;
      }
      // Before anybody is dialled, so that no server is blamed for what this proxy lacks.
      const distrust = distrustOf(server.peer, identity);
      if (distrust !== undefined) {
        failures.push(distrust);
        continue;
      }
      try {
        const remainingMs = Math.max(endsAt - performance.now(), 0);
        // One that hangs must leave time for the others.
        const withinMs = index === legs.length - 1 ? remainingMs : remainingMs / 2;
        return traced(await this.#connectorTo(server, passiveHealthCheck).connect(route, context, withinMs));
      } catch (reason) {
        if (context.abandoned !== undefined) throw reason;
        failures.push(ProxyError.from(reason));
      }
    }
    throw allFailed(name, refusal, failures);
  }

  /** One deadline for all legs: the longest that one of them asks for. In milliseconds. */
  #timeFor(legs: readonly Leg[]): number {
    const { connectTimeoutMs } = this.#options.limits;
    return Math.max(0, ...legs.map(({ route }) => route.connectTimeoutMs ?? connectTimeoutMs));
  }

  #connectorTo(server: ExpectedServer, check: PassiveHealthCheck | undefined): BalancedConnector {
    const key = JSON.stringify([server.serverName, server.identities, server.peer, check]);
    const known = this.#connectors.use(key);
    if (known !== undefined) return known.connector;
    const own = check && this.#options.outliers.apart(ejectionBy(check));
    const outliers = own ?? this.#outliers;
    const connector = balancedConnector({ ...this.#options, outliers, upgrade: this.#upgradeTo(server) });
    return this.#connectors.add(key, { connector, own }).connector;
  }

  /** TLS belongs to the dial: a handshake that fails is a dial that failed. */
  #upgradeTo(server: ExpectedServer): NonNullable<ConnectDialOptions['upgrade']> {
    return (connection, { timeoutMs, signal }) => {
      const identity = this.#options.identity.current;
      if (identity === undefined) throw noCertificate();
      return beginMutualTls(connection, { ...server, identity, timeoutMs }, signal);
    };
  }
}

function traced(upstream: Upstream): Upstream {
  const trace = traceOver(upstream.connection);
  return trace === undefined ? upstream : { ...upstream, trace };
}

/** Ours to have: asked for before anybody is dialled, so that no server is blamed for it. */
function noCertificate(): ProxyError {
  return new ProxyError('AUTHORIZATION_FAILED', 'no own certificate yet');
}

/** The last failure has the last word; those before it are told beside it. */
function allFailed(name: string, refusal: string | undefined, failures: readonly ProxyError[]): ProxyError {
  const last = failures.at(-1);
  if (last === undefined) return new ProxyError('NO_BACKEND', `${name}: ${refusal ?? 'it has no target'}`);
  if (failures.length === 1) return last;
  const earlier = failures.slice(0, -1).map(({ message }) => message);
  return new ProxyError(last.code, `${last.message}; before that ${earlier.join('; ')}`, { cause: last });
}
