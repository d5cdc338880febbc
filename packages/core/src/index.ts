// For plugin authors: the contracts.
export type { Accepted, Hello, Upstream } from './connection.ts';
export { formatEndpoint, parseEndpoint, unixPath } from './endpoint.ts';
export type { Endpoint } from './endpoint.ts';
export { ProxyError, SIDES } from './errors.ts';
export type { ProxyErrorCode, Side } from './errors.ts';
export type { ClosedConnection, Observer, OwnCertificate, ProxyEvent } from './observe.ts';
export { ConfigProblems, definePlugin, formatProblem } from './plugin.ts';
export type { Plugin, PluginDefinition, PluginHost, Problem } from './plugin.ts';
export type {
  Backend,
  Balance,
  KeepAlive,
  ListenAddress,
  ListenerSource,
  Route,
  RouteSnapshot,
  RouteSource,
} from './route.ts';
export type { Service } from './service.ts';
export type { ConnectContext, Connector, Farewells, Layer, Resolver, Sniffer, Verdict } from './stages.ts';
export type {
  Connection,
  Dial,
  DialOptions,
  ListenOptions,
  Listening,
  Progress,
  Splice,
  SpliceOptions,
  Transfer,
  Transport,
} from './transport.ts';

// For embedders: the parts of which a proxy is composed, in the order in which a connection meets them.
export { Listener } from './listener.ts';
export type { ListenerOptions } from './listener.ts';
export { Listeners } from './listeners.ts';
export type { ListenersOptions, ListenerStatus } from './listeners.ts';
export { Admission } from './admission.ts';
export { DEFAULT_LIMITS } from './limits.ts';
export type { Limits } from './limits.ts';
export { Flights } from './flights.ts';
export type { FlightState, Greeted, Greeter, LiveConnection, Stages } from './flight.ts';
export { firstOf, layered } from './stages.ts';
export { RouteStore } from './route-store.ts';
export type { RouteStoreOptions } from './route-store.ts';
export type { SourceState, SourceStatus } from './source-track.ts';
export { lastKnownGood, lastKnownListeners } from './last-known-good.ts';
export type { ArchivedSnapshot, ListenerArchive, SnapshotArchive } from './last-known-good.ts';
export { inShares } from './route-shares.ts';
export { indexRoutes, RouteTable } from './route-table.ts';
export type { Match, MatchKind, RouteIndex } from './route-table.ts';
export { balancedConnector } from './connect.ts';
export type { ConnectorOptions } from './connect.ts';
export { AddressBook, systemResolve } from './addresses.ts';
export type { Resolution, Resolve } from './addresses.ts';
export { DEFAULT_OUTLIERS, Outliers } from './outliers.ts';
export type { OutlierOptions } from './outliers.ts';
export { nodeTransport, upgradeConnection } from './node-transport.ts';
export type { UpgradeOptions } from './node-connection.ts';
export { observers } from './observe.ts';
export { DEFAULT_DRAIN, Drain } from './drain.ts';
export type { DrainOptions, DrainProgress, DrainState, DrainTargets } from './drain.ts';
export { inOrder } from './service.ts';
export { follow } from './follow.ts';
export type { Follower } from './follow.ts';
export { backoff, pause } from './backoff.ts';
export type { BackoffOptions } from './backoff.ts';
