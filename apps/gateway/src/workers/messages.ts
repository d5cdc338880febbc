import type { DrainProgress, Limits, ListenAddress } from '@meshgate/core';
import type { ListenerStatus } from '@meshgate/core/parts';
import type { MetricObjectWithValues, MetricValue } from 'prom-client';
import type { PlacedUse } from '../config/config.ts';
import type { GatewayConfig } from '../config/config-schema.ts';
import type { LogTarget } from '../log/logger.ts';
import type { ConnectionView } from '../admin/views.ts';
import type { RoutesPart } from './route-feed.ts';

/** What the primary says to a worker. In this order: `begin` once, anything else afterwards. */
export type ToWorker =
  | { readonly kind: 'begin'; readonly plan: WorkerPlan }
  /** Answered by `taken`, and not followed by another before that. */
  | { readonly kind: 'routes'; readonly part: RoutesPart }
  | { readonly kind: 'addresses'; readonly source: string; readonly addresses: readonly ListenAddress[] }
  | { readonly kind: 'ask'; readonly ask: number; readonly question: Question }
  /** Answered by `drained` in the end. */
  | { readonly kind: 'drain' }
  /** Ends a drain at once. */
  | { readonly kind: 'force' }
  /** After the drain: leave. */
  | { readonly kind: 'stop' };

/** What a worker says to the primary. */
export type FromWorker =
  /** It can hear: `begin` may be said. */
  | { readonly kind: 'loaded' }
  | { readonly kind: 'taken' }
  /** It listens. */
  | { readonly kind: 'begun' }
  /** It cannot begin, and ends. */
  | { readonly kind: 'failed'; readonly failure: StartFailure }
  /** Something in it is broken: it drains by itself and ends, and another should take its place. */
  | { readonly kind: 'failing'; readonly reason: string }
  | { readonly kind: 'state'; readonly state: WorkerState }
  | { readonly kind: 'answer'; readonly ask: number; readonly answer: Answers[Question] | undefined }
  | { readonly kind: 'drained'; readonly progress: DrainProgress };

/** What a worker is asked, and what it answers. */
export interface Answers {
  readonly connections: readonly ConnectionView[];
  readonly progress: DrainProgress;
  readonly metrics: readonly MetricFamily[];
}

/** The name of a question. */
export type Question = keyof Answers;

/** One metric with all its series, as prom-client writes it down. */
export type MetricFamily = MetricObjectWithValues<MetricValue<string>>;

/** All that a worker needs to know before it can begin. Nothing in it changes later, except through messages. */
export interface WorkerPlan {
  /** Before the ids of its connections: no other worker of the gateway has it, or ever had. */
  readonly idPrefix: string;
  readonly config: GatewayConfig;
  /** This worker's share. */
  readonly limits: Limits;
  /** Plugins whose parts it may need. */
  readonly uses: readonly PlacedUse[];
  /** Absolute folder of the configuration file. */
  readonly baseDir: string;
  /** Name of the transport that the primary has chosen. */
  readonly transport: string;
  /** It binds by itself, beside the others. */
  readonly reusePort: boolean;
  /** Those of the configuration. */
  readonly listeners: readonly ListenAddress[];
  /** Every source of routes, in order of precedence. What each has said last follows: before that the worker does not listen. */
  readonly sources: readonly string[];
  /** Every source of listeners, with what it has said last. */
  readonly listenerSources: readonly NamedAddresses[];
  readonly log: LogTarget;
}

/** What a source of listeners has said last. */
export interface NamedAddresses {
  readonly source: string;
  readonly addresses: readonly ListenAddress[];
}

/** What the primary keeps in mind of each worker: told at each change. */
export interface WorkerState {
  readonly listeners: readonly ListenerStatus[];
  /** Backends that it has put aside, as `host:port`. */
  readonly ejected: readonly string[];
  /** Why lines of its log cannot be written at the moment. */
  readonly logTrouble?: string | undefined;
}

/** Why a worker cannot begin: the error that it met, without what cannot be sent. */
export interface StartFailure {
  readonly message: string;
  readonly code?: string;
  readonly syscall?: string;
  readonly address?: string;
  readonly port?: number;
}

/** The failure of `reason`, whatever that is. */
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

/** The error again that a worker met. */
export function startError({ message, ...facts }: StartFailure): Error {
  return Object.assign(new Error(message), facts);
}
