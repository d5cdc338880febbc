// The mesh as data: what Consul, or a folder of mesh files, is folded into.
export type {
  Catalog,
  CatalogService,
  Check,
  CheckStatus,
  GatewayGroup,
  Instance,
  Resolver,
  Selection,
  Subset,
  TaggedAddress,
} from './catalog.ts';

// What follows from it: names, health, addresses, routes.
export { dialAddress } from './address.ts';
export type { Reach } from './address.ts';
export { standing } from './health.ts';
export type { Standing } from './health.ts';
export { deriveRoutes, routeDeriver } from './routes.ts';
export type { DerivedRoutes, Gateway, MeshRouteKind } from './routes.ts';
export {
  anyNameBelow,
  datacenterServerName,
  peeredServiceServerName,
  peeringServersName,
  queryServerName,
  serverName,
  serversName,
  serviceServerName,
} from './server-names.ts';
export type { DatacenterTarget, PeeredServiceTarget, ServersTarget, ServiceTarget } from './server-names.ts';
export { formatSpiffeId, parseSpiffeId } from './spiffe.ts';
export type { ParsedSpiffeId, SpiffeId } from './spiffe.ts';
