import type { CredentialsSource, ProxyChoice, ProxySource } from '@meshgate/mesh';
import { PeerStatus } from '../peering/peer-trust.ts';
import { consulAuthorizer } from './authorizer.ts';
import type { ConsulAuthorizer } from './authorizer.ts';
import { consulCredentials } from './credentials.ts';
import type { CredentialOptions } from './credentials.ts';
import { consulProxySource } from './proxy-source.ts';

/** The parts of a Connect proxy that Consul configures. Each opens and closes its own sockets. */
export interface ConsulProxyParts {
  /** Registration and upstreams of the proxy, with their targets. */
  readonly proxy: ProxySource;
  /** Leaf certificate of the proxy, and the authorities that it trusts. */
  readonly credentials: CredentialsSource;
  /** Decides whether a caller may connect. To be started before the listeners, and stopped after them. */
  readonly authorizer: ConsulAuthorizer;
}

/**
 * Creates the parts that configure a Connect proxy from the local Consul agent.
 *
 * @throws AgentError when the address is invalid
 */
export function consulProxyParts(options: CredentialOptions, choice: ProxyChoice): ConsulProxyParts {
  const peers = new PeerStatus(options.trustBundles);
  return {
    proxy: consulProxySource(options, choice, peers),
    credentials: consulCredentials(options, choice, peers),
    authorizer: consulAuthorizer(options, peers),
  };
}
