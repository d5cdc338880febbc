// For the daemon and for embedders: a mesh gateway configured by Consul.
export { checkRegistration, consulParts, consulSource, listenersOf } from './gateway.ts';
export type { ConsulOptions, ConsulParts } from './gateway.ts';
export type { OnRoots, RootOwner } from './roots.ts';
export { agentCertificates } from './certificate-metrics.ts';
export { fileProblems, optionsOf, parseSettings } from './options.ts';
export type { ConsulSettings } from './options.ts';
export { consulPlugin } from './plugin.ts';
export { registrationOf } from './registration.ts';
export type { RegisterOptions, Registration, RegistrationBody } from './registration.ts';

// For the daemon and for embedders: a Connect proxy configured by Consul.
export type { ConsulAuthorizer } from './sidecar/authorizer.ts';
export type { CredentialOptions } from './sidecar/credentials.ts';
export { consulProxyParts } from './sidecar/proxy-parts.ts';
export type { ConsulProxyParts } from './sidecar/proxy-parts.ts';
export type { TrustBundles } from './peering/peer-trust.ts';

// For other clients of an agent, and for meshes without an agent that use Consul's terms.
export {
  checkAgent,
  clockFinding,
  failingChecks,
  intentionsTo,
  RIGHTS_OF_READERS,
  rightsOfGateway,
} from './agent-check.ts';
export type { AgentFinding, IntentionVerdict, NeededRight } from './agent-check.ts';
export { checkPeers, rootFinding } from './peering/peer-check.ts';
export type { PeerFinding } from './peering/peer-check.ts';
export { AgentError, openAgent } from './agent.ts';
export { DEFAULT_ADDRESS, parseAgentAddress } from './agent-address.ts';
export type { AgentAddress } from './agent-address.ts';
export type { Agent, AgentOptions, AgentRequest, AgentResponse } from './agent.ts';
export { blockingQuery, hashQuery } from './blocking-query.ts';
export type { Change, HashQuery, WatchedPath } from './blocking-query.ts';
export type { TokenOptions } from './token.ts';
