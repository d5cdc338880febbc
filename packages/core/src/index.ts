// The stable surface: contracts for plugin authors, and what embeds a proxy in another program. The parts that a proxy
// is composed of are in parts.ts, which may change in any minor version.

// For plugin authors: the contracts.
export { changedUpstream, formatTrace } from './pipeline/connection.ts';
export type { Accepted, Hello, KnownFact, Retry, Upstream } from './pipeline/connection.ts';
export { withDial, withUpgrade } from './pipeline/stages.ts';
export { fact } from './pipeline/facts.ts';
export type { Fact } from './pipeline/facts.ts';
export type { BalancedClient, BalanceFactory, Picker, PickerOptions } from './pipeline/picker.ts';
export type { ConnectionFilter, FilterContext, FilterResult } from './pipeline/filter.ts';
export { formatEndpoint, parseEndpoint, unixPath } from './transport/endpoint.ts';
export type { Endpoint } from './transport/endpoint.ts';
export { ProxyError, SIDES } from './errors.ts';
export type { ProxyErrorCode, Side } from './errors.ts';
export type {
  ClosedConnection,
  Observer,
  OwnCertificate,
  TrustedAuthority,
  ProxyEvent,
  ReachedBackend,
} from './observe.ts';
export { ConfigProblems, definePlugin, formatProblem, PLUGIN_API_VERSION } from './lifecycle/plugin.ts';
export type {
  FilterFactory,
  LayerFactory,
  MetricLabels,
  Plugin,
  PluginResponse,
  PluginHandler,
  PluginDefinition,
  PluginHost,
  PluginLog,
  PluginMetric,
  PluginMetrics,
  PluginRequest,
  Problem,
  ProcessRole,
  ResolverFactory,
  RoutesView,
  ServiceOptions,
} from './lifecycle/plugin.ts';
export type {
  AccessRules,
  Backend,
  BackendDrain,
  Balance,
  BuiltInBalance,
  Egress,
  Failover,
  HealthCheck,
  KeepAlive,
  ListenAddress,
  ListenerSource,
  PartUse,
  ProxyProtocolVersion,
  Rate,
  Route,
  RouteLimits,
  RouteSnapshot,
  RouteSource,
} from './routes/route.ts';
export { snapshotProblems } from './routes/snapshot-problems.ts';
export type { SnapshotProblem } from './routes/snapshot-problems.ts';
export type { Service } from './lifecycle/service.ts';
export type {
  ConnectContext,
  ConnectDialOptions,
  Connector,
  RejectionBytes,
  Layer,
  Resolver,
  Sniffer,
  UpgradeTime,
  Verdict,
} from './pipeline/stages.ts';
export type {
  Connection,
  Dial,
  DialOptions,
  HeldSockets,
  ListenOptions,
  Listening,
  PipeUsage,
  Progress,
  Splice,
  SpliceOptions,
  Stall,
  Transfer,
  Transport,
} from './transport/transport.ts';
export { pause } from './watch/scope.ts';

// For embedders.
export { createProxy } from './proxy.ts';
export type { Proxy } from './proxy.ts';
export type { ProxyOptions } from './proxy-options.ts';
export { staticSource } from './routes/static-source.ts';
export type { StaticSource } from './routes/static-source.ts';
export { DEFAULT_LIMITS } from './pipeline/limits.ts';
export type { Limits, PerClientLimits } from './pipeline/limits.ts';
export type { ClientPrefix } from './pipeline/client-key.ts';
export { nodeTransport } from './transport/node-transport.ts';
export { DEFAULT_DRAIN } from './lifecycle/drain.ts';
export type { DrainOptions, DrainProgress, DrainState } from './lifecycle/drain.ts';
