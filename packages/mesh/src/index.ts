// The mesh as data: the catalog, converted from Consul's responses or from a folder of mesh files.
export type {
  Catalog,
  CatalogService,
  Check,
  CheckStatus,
  ExportChain,
  ExportedService,
  ExportTarget,
  GatewayGroup,
  ImportedService,
  Instance,
  ClusterPeer,
  PeeringCatalog,
  PeerMeta,
  GatewayResolver,
  Selection,
  Subset,
  TaggedAddress,
} from './catalog.ts';

// Derived from the catalog: names, health, addresses, routes.
export { dialAddress } from './address.ts';
export type { Reach } from './address.ts';
export { newestOfEach } from './gateway-groups.ts';
export { instanceHealth } from './health.ts';
export type { InstanceHealth } from './health.ts';
export { gatewayDefinition, weakNumber } from './gateway-definition.ts';
export type { GatewayDefinition, GatewayRegistration } from './gateway-definition.ts';
export { deriveRoutes, routeDeriver, steppedRouteDeriver } from './routes.ts';
export { SnapshotVersions } from './snapshot-version.ts';
export { derivePeeringRoutes, peeringServers } from './peering-routes.ts';
export { importersOf, notExported } from './importers.ts';
export { replicated } from './replication.ts';
export type { Export } from './replication.ts';
export { exportRulesOf, MESH_ROUTE_KINDS } from './derived-routes.ts';
export type { DerivedRoutes, ExportRules, RoutingGateway, HttpExports, MeshRouteKind } from './derived-routes.ts';
export {
  anyNameBelow,
  datacenterServerName,
  peeredServiceServerName,
  peeringServersName,
  queryServerName,
  serverName,
  serverNameProblem,
  serversName,
  serviceServerName,
} from './server-names.ts';
export type { DatacenterTarget, PeeredServiceTarget, ServersTarget, ServiceTarget } from './server-names.ts';
export { goDurationMs } from './go-duration.ts';
export { certificatesIn, privateKeyIn } from './pem.ts';
export { formatSpiffeId, isSameSpiffeId, parseSpiffeId } from './spiffe.ts';
export type { ParsedSpiffeId, SpiffeId } from './spiffe.ts';

// The dialling side: modes, discovery chains, targets, intentions.
export { decideMode, explainMode, MODE_SCOPES, modeOf, parseGatewayMode } from './gateway-mode.ts';
export type { GatewayMode, ModeDecision, ModeScope, ModeSetting, ParsedGatewayMode } from './gateway-mode.ts';
export { NO_ENTRIES } from './config-entries.ts';
export type {
  ConfigEntries,
  Destination,
  MeshSettings,
  MutualTlsMode,
  PassiveHealthCheck,
  ProxyDefaults,
  ServiceDefaults,
  ServiceResolver,
  UpstreamOverride,
  UpstreamSettings,
  WrittenMode,
} from './config-entries.ts';
export { mutualTlsOf, upstreamMode, upstreamModeSettings, upstreamSetting } from './proxy.ts';
export type { MutualTlsDecision, ProxyChoice, ProxyDefinition, UpstreamDefinition, UpstreamSetting } from './proxy.ts';
export { proxyUpstream, upstreamLimits } from './proxy-view.ts';
export type { ProxySource, ProxyUpstream, ProxyView } from './proxy-view.ts';
export { compileChain, serviceIdentity, targetId } from './discovery-chain.ts';
export type { ChainRequest, ChainTarget, CompiledChain, DiscoveryChain } from './discovery-chain.ts';
export { dialOrder, pathTo, upstreamTargets } from './upstream-targets.ts';
export type { MeshAround, UpstreamPath, UpstreamTarget } from './upstream-targets.ts';
export { authorize, describeIntention, describePermission, matchingIntentions, whyRequestsDeny } from './intentions.ts';
export type { Authorization, AuthorizationRequest, Intention, RequestPermission } from './intentions.ts';
export type { Authorizer, Caller, Credentials, CredentialsSource, PeerTrust, TlsSettings } from './trust.ts';
