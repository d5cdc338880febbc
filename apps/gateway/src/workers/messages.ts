import type { DrainProgress, Endpoint, Limits, ListenAddress } from '@meshgate/core';
import type { DrainReason, HealthMark, HeldGroup, ListenerStatus } from '@meshgate/core/parts';
import type { MetricObjectWithValues, MetricValue } from 'prom-client';
import type { PlacedUse } from '../config/config.ts';
import type { Traffic } from '../admin/traffic.ts';
import type { GatewayConfig, LogLevel } from '../config/config-schema.ts';
import type { InheritedSocket } from '../run/inherited-sockets.ts';
import type { LogTarget } from '../log/logger.ts';
import type { ConnectionQuery } from '../admin/connection-query.ts';
import type { ConnectionView } from '../admin/views.ts';
import type { RoutesPart } from './route-feed.ts';

/** A message from the primary to a worker: `start` once, then any other. */
export type ToWorker =
  | { readonly kind: 'start'; readonly plan: WorkerPlan }
  /** Acknowledged by the worker before the next part is sent. */
  | { readonly kind: 'routes'; readonly part: RoutesPart }
  | { readonly kind: 'addresses'; readonly source: string; readonly addresses: readonly ListenAddress[] }
  /** Health check results. */
  | { readonly kind: 'health'; readonly marks: readonly HealthMark[] }
  | {
      readonly kind: 'query';
      readonly id: number;
      readonly name: QueryName;
      readonly argument?: ConnectionQuery | undefined;
    }
  /** Precedes a change that needs the socket. */
  | { readonly kind: 'inherit'; readonly name: string; readonly endpoint: Endpoint }
  /** The response is `prepared`; then either `commit`, with the response `committed`, or `discard`. */
  | { readonly kind: 'prepare'; readonly change: WorkerChange }
  | { readonly kind: 'commit' }
  | { readonly kind: 'discard' }
  /** Answered by `drained` at the end. */
  | { readonly kind: 'drain'; readonly why: DrainReason }
  /** The responses are a `socket` for each listening socket, then `sockets`. */
  | { readonly kind: 'sockets' }
  | { readonly kind: 'log level'; readonly level: LogLevel }
  /** Closes the remaining connections of a drain at once. */
  | { readonly kind: 'force' }
  /** After the drain, makes the worker exit. */
  | { readonly kind: 'stop' };

/** A message from a worker to the primary. */
export type FromWorker =
  /** Ready to receive: `start` may be sent. */
  | { readonly kind: 'loaded' }
  | { readonly kind: 'acknowledged' }
  /** The worker listens. */
  | { readonly kind: 'started' }
  /** The worker cannot start, and exits. */
  | { readonly kind: 'failed'; readonly failure: StartFailure }
  /** The worker had an uncaught exception: it drains and exits, and should be replaced. */
  | { readonly kind: 'failing'; readonly reason: string }
  | { readonly kind: 'state'; readonly state: WorkerState }
  /** Parts of a large metrics result; precede the result. */
  | { readonly kind: 'families'; readonly id: number; readonly families: readonly MetricFamily[] }
  | { readonly kind: 'result'; readonly id: number; readonly result: QueryResults[QueryName] | undefined }
  | { readonly kind: 'drained'; readonly progress: DrainProgress }
  /** With `failure`, nothing has changed. */
  | { readonly kind: 'prepared'; readonly listeners: readonly ListenerStatus[]; readonly failure?: StartFailure }
  | { readonly kind: 'committed' }
  /** Sent with the socket itself. */
  | { readonly kind: 'socket'; readonly name: string; readonly endpoint: Endpoint }
  | { readonly kind: 'sockets' };

/** The part of a plan that a reload can change. */
export type WorkerChange = Pick<WorkerPlan, 'config' | 'limits' | 'adminAt' | 'listeners' | 'sources'> & {
  /** Names of listener sources; their last lists follow in later messages. */
  readonly listenerSources: readonly string[];
};

/** Results of queries, by name of the query. */
export interface QueryResults {
  readonly connections: readonly ConnectionView[];
  readonly progress: DrainProgress;
  readonly metrics: readonly MetricFamily[];
  readonly traffic: Traffic;
  /** Priority groups that the worker holds back. */
  readonly held: readonly HeldGroup[];
  /** Number of connections closed by the query's argument. */
  readonly close: { readonly closed: number };
}

/** Name of a query. */
export type QueryName = keyof QueryResults;

/** A metric with all its series, as prom-client serialises it. */
export type MetricFamily = MetricObjectWithValues<MetricValue<string>>;

/** Everything that a worker needs to start. Later changes arrive in messages. */
export interface WorkerPlan {
  /** Prefix of connection ids, unique among all present and past workers of this gateway. */
  readonly idPrefix: string;
  readonly config: GatewayConfig;
  /** This worker's share of the limits. */
  readonly limits: Limits;
  /** This worker's share of each route's limits. */
  readonly share: number;
  /** Addresses at which the primary serves the admin API; they must not be dialled as backends. */
  readonly adminAt: readonly Endpoint[];
  /** Third-party plugins: their observers, layers, resolvers, sniffers and transports run in the worker. */
  readonly uses: readonly PlacedUse[];
  /** Absolute path of the folder with the configuration file. */
  readonly baseDir: string;
  /** Name of the transport that the primary has chosen. */
  readonly transport: string;
  /** The worker binds its own sockets, beside those of other workers. */
  readonly reusePort: boolean;
  /** Listeners of the configuration. */
  readonly listeners: readonly ListenAddress[];
  /** Names of route sources in order of precedence. Their last snapshots follow; the worker listens only then. */
  readonly sources: readonly string[];
  /** Listener sources with their last lists. */
  readonly listenerSources: readonly NamedAddresses[];
  readonly log: LogTarget;
  /** Sockets that the worker inherits, with their descriptors. */
  readonly sockets: readonly InheritedSocket[];
}

/** The last list of a listener source. */
export interface NamedAddresses {
  readonly source: string;
  readonly addresses: readonly ListenAddress[];
}

/** State of a worker, sent to the primary at each change. */
export interface WorkerState {
  readonly listeners: readonly ListenerStatus[];
  /** Ejected backends, as `host:port`. */
  readonly ejected: readonly string[];
  /** Why log lines cannot be written at the moment. */
  readonly logTrouble?: string | undefined;
  /** Recent shortages on the worker's machine and failures of name resolution, one sentence each. */
  readonly troubles: readonly string[];
}

/** Why a worker cannot start: its error, serialised. */
export interface StartFailure {
  readonly message: string;
  readonly code?: string;
  readonly syscall?: string;
  readonly address?: string;
  readonly port?: number;
}

/** Serialises an error. */
export function startFailure(reason: unknown): StartFailure {
  const { code, syscall, address, port } = Object(reason) as Partial<Record<keyof StartFailure, unknown>>;
  return {
    message: reason instanceof Error ? reason.message : String(reason),
    ...(typeof code === 'string' && { code }),
    ...(typeof syscall === 'string' && { syscall }),
    ...(typeof address === 'string' && { address }),
    ...(typeof port === 'number' && { port }),
  };
}

/** Deserialises the error of a worker. */
export function startError({ message, ...facts }: StartFailure): Error {
  return Object.assign(new Error(message), facts);
}
