import { balancedConnector, ProxyError } from '@meshgate/core';
import type { ConnectContext, Connection, Connector, ConnectorOptions, DialOptions, Endpoint } from '@meshgate/core';
import type { Route, Upstream } from '@meshgate/core';
import type { Authorizer } from '@meshgate/mesh';
import { beginMutualTls } from './client-handshake.ts';
import type { IdentityStore } from './identity-store.ts';
import { callerOf } from './server-handshake.ts';
import type { ExpectedServer } from './server-identity.ts';
import { isPublicRoute, isUpstreamRoute } from './sidecar-routes.ts';
import type { Leg, PublicRoute, UpstreamRoute } from './sidecar-routes.ts';

/** What {@link sidecarConnector} is made of, beside what every connector is. */
export interface SidecarConnectorOptions extends ConnectorOptions {
  readonly identity: Pick<IdentityStore, 'current'>;
  readonly authorizer: Authorizer;
}

/**
 * Reaches the application for callers that may connect, in the clear; and upstreams, by mutual TLS with the identity verified:
 * one target after the other, and of each one address after the other, until a handshake succeeds.
 */
export function sidecarConnector(options: SidecarConnectorOptions): Connector {
  const toApplication = balancedConnector(options);
  const toUpstream = new UpstreamConnectors(options);
  return { connect };

  async function connect(route: Route, context: ConnectContext): Promise<Upstream> {
    if (isUpstreamRoute(route)) return toUpstream.connect(route, context);
    if (!isPublicRoute(route)) throw new ProxyError('INTERNAL', `route ${route.name} is none of a sidecar`);
    await authorized(route, context, options.authorizer);
    return toApplication.connect(route, context);
  }
}

async function authorized(
  { service }: PublicRoute,
  { hello, signal }: ConnectContext,
  authorizer: Authorizer,
): Promise<void> {
  const caller = callerOf(hello);
  if (caller === undefined)
    throw new ProxyError(
      'DOWNSTREAM_UNTRUSTED',
      'expected a client with a certificate, found one that was never asked',
    );
  const { allowed, reason } = await authorizer
    .authorize(caller, { destination: service }, signal)
    .catch((cause: unknown) => {
      if (signal.aborted) throw signal.reason;
      throw unable(`whether ${caller.uri} may connect to ${service}`, cause);
    });
  if (!allowed) throw new ProxyError('DENIED', `${caller.uri} may not connect to ${service}: ${reason}`);
}

function unable(what: string, cause: unknown): ProxyError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new ProxyError('AUTHORIZATION_FAILED', `${what} could not be found out: ${why}`, { cause });
}

/** One balanced connector for each server that is expected somewhere: what it has learned outlives a change of routes. */
class UpstreamConnectors {
  readonly #options: SidecarConnectorOptions;
  readonly #connectors = new Map<string, Connector>();

  constructor(options: SidecarConnectorOptions) {
    this.#options = options;
  }

  async connect(route: UpstreamRoute, context: ConnectContext): Promise<Upstream> {
    let attempts = 0;
    const counting: ConnectContext = {
      ...context,
      dialing: (backend, address) => {
        attempts += 1;
        context.dialing(backend, address);
      },
    };
    const failures: ProxyError[] = [];
    for (const leg of route.legs) {
      try {
        return { ...(await this.#connectorTo(leg).connect(leg, counting)), attempts };
      } catch (reason) {
        if (context.signal.aborted) throw reason;
        failures.push(ProxyError.from(reason));
      }
    }
    throw allFailed(route, failures);
  }

  #connectorTo(leg: Leg): Connector {
    const { serverName, identities } = leg;
    const key = JSON.stringify([serverName, identities]);
    let known = this.#connectors.get(key);
    if (known === undefined) {
      const server = { serverName, identities };
      const dial = this.#dialer(server);
      known = balancedConnector({ ...this.#options, transport: { dial } });
      this.#connectors.set(key, known);
    }
    return known;
  }

  #dialer(server: ExpectedServer): (to: Endpoint, options: DialOptions, signal: AbortSignal) => Promise<Connection> {
    const { transport, identity: store } = this.#options;
    return async (to, options, signal) => {
      const endsAt = performance.now() + options.timeoutMs;
      const identity = store.current;
      if (identity === undefined) throw new ProxyError('AUTHORIZATION_FAILED', 'there is no own certificate yet');
      const connection = await transport.dial(to, options, signal);
      const timeoutMs = Math.max(0, endsAt - performance.now());
      return beginMutualTls(connection, { ...server, identity, timeoutMs }, signal);
    };
  }
}

/** The last failure has the last word; those before it are told beside it. */
function allFailed({ name, refusal }: UpstreamRoute, failures: readonly ProxyError[]): ProxyError {
  const last = failures.at(-1);
  if (last === undefined) return new ProxyError('NO_BACKEND', `${name}: ${refusal ?? 'it has no target'}`);
  if (failures.length === 1) return last;
  const earlier = failures.slice(0, -1).map(({ message }) => message);
  return new ProxyError(last.code, `${last.message}; before that ${earlier.join('; ')}`, { cause: last });
}
