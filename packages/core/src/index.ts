// For plugin authors: the contracts.
export type { Accepted, Hello, Upstream } from './pipeline/connection.ts';
export { formatEndpoint, parseEndpoint, unixPath } from './transport/endpoint.ts';
export type { Endpoint } from './transport/endpoint.ts';
export { ProxyError, SIDES } from './errors.ts';
export type { ProxyErrorCode, Side } from './errors.ts';
export type { ClosedConnection, Observer, OwnCertificate, ProxyEvent } from './observe.ts';
export { ConfigProblems, definePlugin, formatProblem } from './lifecycle/plugin.ts';
export type { Plugin, PluginDefinition, PluginHost, Problem } from './lifecycle/plugin.ts';
export type {
  Backend,
  Balance,
  KeepAlive,
  ListenAddress,
  ListenerSource,
  Route,
  RouteSnapshot,
  RouteSource,
} from './routes/route.ts';
export type { Service } from './lifecycle/service.ts';
export type {
  ConnectContext,
  Connector,
  RejectionBytes,
  Layer,
  Resolver,
  Sniffer,
  Verdict,
} from './pipeline/stages.ts';
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
} from './transport/transport.ts';

// For embedders: the parts of which a proxy is composed, in the order in which a connection meets them.
export { Listener } from './pipeline/listener.ts';
export type { ListenerOptions } from './pipeline/listener.ts';
export { Listeners } from './pipeline/listeners.ts';
export type { ListenersOptions, ListenerStatus } from './pipeline/listeners.ts';
export { Admission } from './pipeline/admission.ts';
export { DEFAULT_LIMITS } from './pipeline/limits.ts';
export type { Limits } from './pipeline/limits.ts';
export { Sessions } from './pipeline/sessions.ts';
export type { SessionState, Greeted, Greeter, LiveConnection, Stages } from './pipeline/session.ts';
export { firstOf, layered } from './pipeline/stages.ts';
export { RouteStore } from './routes/route-store.ts';
export type { RouteStoreOptions } from './routes/route-store.ts';
export type { SourceState, SourceStatus } from './watch/source-follower.ts';
export { lastKnownGood, lastKnownListeners } from './watch/stored-snapshots.ts';
export type { StoredSnapshot, ListenerStore, SnapshotStore } from './watch/stored-snapshots.ts';
export { inSlices } from './routes/route-slices.ts';
export { indexRoutes, RouteTable } from './routes/route-table.ts';
export type { Match, MatchKind, RouteIndex } from './routes/route-table.ts';
export { balancedConnector } from './pipeline/connect.ts';
export type { ConnectorOptions } from './pipeline/connect.ts';
export { AddressBook, systemResolve } from './pipeline/addresses.ts';
export type { Resolution, Resolve } from './pipeline/addresses.ts';
export { DEFAULT_OUTLIERS, Outliers } from './pipeline/outliers.ts';
export type { OutlierOptions } from './pipeline/outliers.ts';
export { nodeTransport, upgradeConnection } from './transport/node-transport.ts';
export type { UpgradeOptions } from './transport/node-connection.ts';
export { observers } from './observe.ts';
export { DEFAULT_DRAIN, Drain } from './lifecycle/drain.ts';
export type { DrainOptions, DrainProgress, DrainState, DrainTargets } from './lifecycle/drain.ts';
export { inOrder } from './lifecycle/service.ts';
export { follow } from './watch/follow.ts';
export type { Follower } from './watch/follow.ts';
export { backoff, pause } from './watch/backoff.ts';
export type { BackoffOptions } from './watch/backoff.ts';
