import { ProxyError } from '@meshgate/core';
import type { ConnectContext, ConnectDialOptions, Connector, Route, Upstream } from '@meshgate/core';
import { balancedConnector, errorOf, RecentlyUsed } from '@meshgate/core/parts';
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

/** Dependencies of {@link sidecarConnector}, besides those of every connector. */
export interface SidecarConnectorOptions extends ConnectorOptions {
  /** The identity that the proxy presents to servers. */
  readonly identity: Pick<IdentityStore, 'current'>;
  /** Authorizes callers from the mesh to connect to the application. */
  readonly authorizer: Authorizer;
}

/**
 * Connects authorized callers to the application in plain text, and the application to upstreams by mutual TLS with a
 * verified identity. Tries target after target, and address after address, until a handshake succeeds.
 */
export function sidecarConnector(options: SidecarConnectorOptions): Connector {
  const toApplication = balancedConnector({ ...options, outliers: options.outliers.apart() });
  const toUpstream = new UpstreamConnectors(options);
  return { connect };

  async function connect(route: Route, context: ConnectContext): Promise<Upstream> {
    const destination = destinationOf(route);
    if (destination === undefined) throw new ProxyError('INTERNAL', `route ${route.name} is not a sidecar's`);
    if (destination.kind === 'upstream') return toUpstream.connect(route, destination, context);
    await authorized(destination.service, context, options.authorizer);
    if (route.backends.length === 0) throw new ProxyError('NO_BACKEND', NO_APPLICATION);
    return toApplication.connect(route, context);
  }
}

const NO_APPLICATION = 'the definition of the proxy has no local_service_port: there is no application to connect to';

async function authorized(service: string, context: ConnectContext, authorizer: Authorizer): Promise<void> {
  const { connection } = context;
  const caller = CALLER.of(connection);
  // In permissive mode, a caller without an identity is accepted on purpose.
  if (caller === undefined && PLAIN_TEXT.of(connection) === true) return;
  if (caller === undefined)
    throw new ProxyError(
      'DOWNSTREAM_UNTRUSTED',
      'expected a client with a certificate, found one without a TLS handshake',
    );
  // Runs without the connection's signal, which would be created only for this: the authorizer always settles in time.
  const { allowed, reason } = await authorizer.authorize(caller, { destination: service }).catch((cause: unknown) => {
    throw context.abandoned ?? unable(`whether ${caller.uri} may connect to ${service}`, cause);
  });
  if (!allowed) throw new ProxyError('DENIED', `${caller.uri} may not connect to ${service}: ${reason}`);
}

function unable(what: string, cause: unknown): ProxyError {
  return new ProxyError('AUTHORIZATION_FAILED', `${what} is unknown: ${errorOf(cause).message}`, { cause });
}

interface ToServer {
  readonly connector: BalancedConnector;
  /** Ejections that apply to this connector only. */
  readonly own: Outliers | undefined;
}

type ToUpstream = Extract<SidecarTarget, { readonly kind: 'upstream' }>;

/**
 * Keeps one balanced connector for each expected server: its state outlives a change of routes, as long as connections
 * to the server continue. Upstreams share the ejection of addresses, except those with a `PassiveHealthCheck`.
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
      // Checked before a dial, so that missing roots do not count as a failure of the server.
      const distrust = distrustOf(server.peer, identity);
      if (distrust !== undefined) {
        failures.push(distrust);
        continue;
      }
      try {
        const remainingMs = Math.max(endsAt - performance.now(), 0);
        // Leaves time for the remaining targets when one does not respond.
        const withinMs = index === legs.length - 1 ? remainingMs : remainingMs / 2;
        return traced(await this.#connectorTo(server, passiveHealthCheck).connect(route, context, withinMs));
      } catch (reason) {
        if (context.abandoned !== undefined) throw reason;
        failures.push(ProxyError.from(reason));
      }
    }
    throw allFailed(name, refusal, failures);
  }

  /** Returns the common time limit of all targets in milliseconds: their longest connect timeout. */
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

  /** Makes the TLS handshake part of the dial: a failed handshake is a failed dial. */
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

/** Checked before a dial, so that a missing certificate does not count as a failure of the server. */
function noCertificate(): ProxyError {
  return new ProxyError('AUTHORIZATION_FAILED', 'no certificate yet');
}

/** Combines the failures of all targets; the last one determines the code and begins the message. */
function allFailed(name: string, refusal: string | undefined, failures: readonly ProxyError[]): ProxyError {
  const last = failures.at(-1);
  if (last === undefined) return new ProxyError('NO_BACKEND', `${name}: ${refusal ?? 'it has no target'}`);
  if (failures.length === 1) return last;
  const earlier = failures.slice(0, -1).map(({ message }) => message);
  return new ProxyError(last.code, `${last.message}; before that ${earlier.join('; ')}`, { cause: last });
}
