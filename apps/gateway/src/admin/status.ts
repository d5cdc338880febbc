import { hostname } from 'node:os';
import type { DrainProgress } from '@meshgate/core';
import { VERSION } from '../cli/version.ts';
import type { Readiness } from './readiness.ts';
import type { ListenerView, SourceView } from './views.ts';

/** Static properties of a proxy. */
export interface ProxyIdentity {
  readonly role: 'gateway' | 'sidecar';
  /** Of a sidecar: the service id of its proxy, as far as its command line has it. Absent for a gateway. */
  readonly proxyId?: string;
  /** Name of the transport in use. */
  readonly transport: string;
  /** Number of processes that carry connections. */
  readonly workers: number;
}

/** The response of `GET /status`, and the event `status`. */
export interface StatusView extends ProxyIdentity, Readiness {
  readonly version: string;
  /** Version of Node.js. */
  readonly node: string;
  readonly host: string;
  readonly pid: number;
  /** In ISO 8601. */
  readonly startedAt: string;
  /** Log level. */
  readonly logLevel: string;
  readonly listeners: readonly ListenerView[];
  readonly sources: readonly SourceView[];
  readonly drain: DrainProgress;
  /** Number of routes in use. */
  readonly routes: number;
  /** Number of ejected backend addresses. */
  readonly ejected: number;
}

/** The variable part of the status. */
export type StatusNow = Omit<StatusView, 'version' | 'node' | 'host' | 'pid' | 'startedAt'>;

/** Adds the data that every process has about itself. */
export function statusView(now: StatusNow): StatusView {
  return {
    version: VERSION,
    node: process.versions.node,
    host: hostname(),
    pid: process.pid,
    startedAt: new Date(performance.timeOrigin).toISOString(),
    ...now,
  };
}
