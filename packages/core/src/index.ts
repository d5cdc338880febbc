// For plugin authors: the contracts.
export type { Accepted, Hello, Transfer, Upstream } from './connection.ts';
export { formatEndpoint, parseEndpoint, unixPath } from './endpoint.ts';
export type { Endpoint } from './endpoint.ts';
export { ProxyError, SIDES } from './errors.ts';
export type { ProxyErrorCode, Side } from './errors.ts';
export type { ClosedConnection, Observer, ProxyEvent } from './observe.ts';
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
export type { ConnectContext, Connector, Layer, Resolver, Sniffer, Verdict } from './stages.ts';
export type {
  Connection,
  DialOptions,
  ListenOptions,
  Listening,
  Progress,
  Splice,
  SpliceOptions,
  Transport,
} from './transport.ts';

// For embedders: the parts of which a proxy is composed.
export { DEFAULT_LIMITS } from './limits.ts';
export type { Limits } from './limits.ts';
export { observers } from './observe.ts';
export { inOrder } from './service.ts';
export { firstOf, layered } from './stages.ts';
