import { setImmediate as nextTurn } from 'node:timers/promises';
import { pause } from '@meshgate/core';
import type { DrainProgress, Endpoint, Limits, Observer, ProxyEvent } from '@meshgate/core';
import type {
  HealthChecks,
  HeldGroup,
  Listeners,
  Outliers,
  Preference,
  RouteStore,
  RouteTable,
} from '@meshgate/core/parts';
import { DURATION_FORM, parseDuration } from '@meshgate/documents';
import { expositionStream } from '@meshgate/metrics';
import type { Registry } from 'prom-client';
import { LOG_LEVELS } from '../config/config-schema.ts';
import type { LogLevel } from '../config/config-schema.ts';
import type { InstalledParts } from '../config/parts.ts';
import { withRouteWarnings } from '../config/route-warnings.ts';
import { requestedName, explain, isExact } from '../cli/explain.ts';
import { openApiOf } from './openapi.ts';
import { pageResponse } from './page-file.ts';
import { pluginEndpoints } from './plugin-paths.ts';
import type { AdminResponse, AdminEndpoint, AdminRequest } from './endpoint.ts';
import type { Readiness } from './readiness.ts';
import { EventStreams, MAX_STREAMS } from './event-streams.ts';
import { statusView } from './status.ts';
import type { ProxyIdentity, StatusView } from './status.ts';
import type { Traffic } from './traffic.ts';
import { drainView, listenerView, routesView, sourceView } from './views.ts';
import type { ProcessControl, ReloadOutcome, UpgradeOutcome } from '../run/process-control.ts';
import { CONNECTION_PARAMETERS, matching, parseConnectionQuery } from './connection-query.ts';
import type { ConnectionQuery } from './connection-query.ts';
import type { ConnectionView } from './views.ts';

/** The state and the actions behind the admin API. Data of other processes is queried from them. */
export interface AdminTargets {
  readonly routes: Pick<RouteStore, 'table' | 'sources'>;
  readonly listeners: Pick<Listeners, 'status'>;
  readonly outliers: Pick<Outliers, 'isEjected' | 'ejected'>;
  /** Absent without health checks. */
  readonly checks: Pick<HealthChecks, 'reportOf'> | undefined;
  /** Returns priority groups that are held back after they were out of service, from each process. */
  heldGroups(): Eventually<readonly HeldGroup[]>;
  /** Returns the labels of the preferred backends. */
  preference(): Preference;
  readonly limits: Limits;
  readonly identity: ProxyIdentity;
  /** Receives internal failures. */
  readonly observer: Observer;
  /** Receives changes of the routes. */
  readonly routeChanges: Pick<RouteChangeFeed, 'subscribe'>;
  /** Admin paths of plugins. */
  readonly plugins: Pick<InstalledParts, 'adminPaths'>;
  readiness(): Readiness;
  /** Returns the live connections, oldest first. */
  connections(): Eventually<readonly ConnectionView[]>;
  /** Closes the matching connections. @returns the number of closed connections */
  close(query: ConnectionQuery): Promise<number>;
  metrics(): Eventually<Registry>;
  traffic(): Eventually<Traffic>;
  drainProgress(): Eventually<DrainProgress>;
  readonly logLevel: LogLevelControl;
  /** Process-level actions. */
  readonly control: ProcessControl;
  /** Starts the drain after which the process exits. */
  shutDown(): void;
}

/** The log level, which can be changed at run time. */
interface LogLevelControl {
  readonly current: string;
  set(level: LogLevel): void;
}

/** Forwards reports of the route store to the current subscriber. */
export class RouteChangeFeed implements Observer {
  readonly name = 'route changes';
  readonly #listeners: ((event: ProxyEvent) => void)[] = [];

  observe(event: ProxyEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  subscribe(listener: (event: ProxyEvent) => void): void {
    this.#listeners.push(listener);
  }
}

type Eventually<T> = T | Promise<T>;

/** Returns every endpoint of the admin API: one table for routing and for the OpenAPI document. */
export function adminEndpoints(targets: AdminTargets): readonly AdminEndpoint[] {
  const own = [
    ...probes(targets),
    ...aboutStatus(targets),
    ...aboutRoutes(targets),
    ...aboutConnections(targets),
    ...aboutDrain(targets),
    ...aboutReload(targets),
    ...aboutLog(targets.logLevel),
    ...pluginEndpoints(targets.plugins.adminPaths),
  ];
  const endpoints: readonly AdminEndpoint[] = [
    {
      method: 'GET',
      path: '/',
      summary: 'A web page that shows what the other paths return',
      responses: {
        200: { description: 'the page', contentType: 'text/html' },
        503: { description: 'it was not built', schema: 'Error' },
      },
      respond: () => pageResponse(),
    },
    ...own,
    {
      method: 'GET',
      path: '/openapi.json',
      summary: 'This document',
      responses: { 200: { description: 'an OpenAPI document', schema: 'OpenApi' } },
      respond: () => ok(openApiOf(endpoints)),
    },
  ];
  return endpoints;
}

/** Returns the state at the top of the page and of `meshgate status`. */
async function statusOf(targets: AdminTargets): Promise<StatusView> {
  const { identity, routes, listeners, outliers, logLevel } = targets;
  const { proxyId } = targets.control;
  return statusView({
    ...identity,
    ...(proxyId !== undefined && { proxyId }),
    ...targets.readiness(),
    logLevel: logLevel.current,
    listeners: listeners.status.map(listenerView),
    sources: routes.sources.map(sourceView),
    drain: drainView(await targets.drainProgress()),
    routes: routes.table.size,
    ejected: outliers.ejected,
  });
}

function probes({ readiness, metrics }: AdminTargets): readonly AdminEndpoint[] {
  return [
    {
      method: 'GET',
      path: '/live',
      summary: 'Whether the process is running',
      responses: { 200: { description: 'it is running', schema: 'Live' } },
      respond: () => ok({ live: true }),
    },
    {
      method: 'GET',
      path: '/ready',
      summary: 'Whether traffic should be sent here',
      responses: {
        200: { description: 'ready', schema: 'Readiness' },
        503: { description: 'not ready, with the reasons', schema: 'Readiness' },
      },
      respond: () => {
        const now = readiness();
        return { status: now.ready ? 200 : 503, json: now };
      },
    },
    {
      method: 'GET',
      path: '/metrics',
      summary: 'Prometheus metrics; OpenMetrics by content negotiation',
      responses: { 200: { description: 'the metrics', contentType: 'text/plain' } },
      respond: async ({ accept }) => {
        return { status: 200, ...expositionStream(await metrics(), accept) };
      },
    },
  ];
}

function aboutRoutes(targets: AdminTargets): readonly AdminEndpoint[] {
  const { routes, listeners, outliers, checks, limits } = targets;
  const isEjected = (address: Endpoint): boolean => outliers.isEjected(address);
  return [
    {
      method: 'GET',
      path: '/routes',
      summary: 'The route table, and the state of each source',
      responses: { 200: { description: 'the table', schema: 'Routes' } },
      respond: async () => {
        const { table } = routes;
        const held = returnsLater(table) ? await targets.heldGroups() : [];
        const sources = withRouteWarnings(routes.sources, table, listeners.status);
        const { connectTimeoutMs } = limits;
        const facts = { connectTimeoutMs, isEjected, checks, held, prefer: targets.preference() };
        return ok(routesView({ table, sources }, facts));
      },
    },
    {
      method: 'GET',
      path: '/explain',
      summary: 'Which route matches a server name, and why',
      query: [
        { name: 'serverName', description: 'as a client sends it', required: true },
        { name: 'listener', description: 'name of the listener that the client connects to; any when absent' },
      ],
      responses: {
        200: { description: 'the route, or why there is none', schema: 'Explanation' },
        400: { description: 'no name, or one that no client can send', schema: 'Error' },
      },
      respond: ({ query }) => explanationOf(query, targets),
    },
  ];
}

/** Whether any route has a group that may be held back: only then is the state queried. */
function returnsLater({ indexes }: RouteTable): boolean {
  for (const { routes } of indexes)
    for (const { failover } of routes.values()) if (failover?.returnAfterMs !== undefined) return true;
  return false;
}

async function explanationOf(
  query: URLSearchParams,
  { routes, listeners, outliers, checks, heldGroups, preference }: AdminTargets,
): Promise<AdminResponse> {
  const serverName = query.get('serverName') ?? '';
  if (serverName === '') return { status: 400, json: { error: 'expected ?serverName=NAME, found none' } };
  const requested = requestedName(serverName);
  const listener = query.get('listener');
  const held = returnsLater(routes.table) ? await heldGroups() : [];
  const explanation = explain(serverName, routes.table, {
    held,
    prefer: preference(),
    ...(listener !== null && { listener }),
    listeners: listeners.status,
    isEjected: (address) => outliers.isEjected(address),
    ...(checks !== undefined && { checks }),
  });
  if (requested.kind === 'name' || isExact(explanation)) return ok(explanation);
  return { status: 400, json: { error: requested.why } };
}

function aboutConnections({ connections, close, listeners }: AdminTargets): readonly AdminEndpoint[] {
  return [
    {
      method: 'GET',
      path: '/connections',
      summary: 'Live connections: all, or those that match',
      query: CONNECTION_PARAMETERS,
      responses: {
        200: { description: 'live connections', schema: 'Connections' },
        400: { description: 'invalid query', schema: 'Error' },
      },
      respond: async ({ query }) => {
        const selection = parseConnectionQuery(query);
        if (typeof selection === 'string') return { status: 400, json: { error: selection } };
        return ok({ connections: (await connections()).filter(matching(selection)) });
      },
    },
    ...closing(close),
    {
      method: 'GET',
      path: '/listeners',
      summary: 'Addresses, and whether they are bound',
      responses: { 200: { description: 'the listeners', schema: 'Listeners' } },
      respond: () => ok({ listeners: listeners.status.map(listenerView) }),
    },
  ];
}

function closing(close: AdminTargets['close']): readonly AdminEndpoint[] {
  return [
    {
      method: 'DELETE',
      path: '/connections/{id}',
      summary: 'Closes a connection, with the code CLOSED_BY_ADMIN',
      responses: {
        200: { description: 'closed', schema: 'Closed' },
        404: { description: 'no such connection', schema: 'Error' },
      },
      respond: async ({ parameters: { id = '' } }) => {
        const closed = await close({ id });
        return closed > 0 ? ok({ closed }) : { status: 404, json: { error: `no live connection ${id}` } };
      },
    },
    {
      method: 'POST',
      path: '/connections/close',
      summary: 'Closes the matching connections, with the code CLOSED_BY_ADMIN',
      query: CONNECTION_PARAMETERS,
      responses: {
        200: { description: 'how many were closed', schema: 'Closed' },
        400: { description: 'invalid query', schema: 'Error' },
      },
      respond: async ({ query }) => {
        const selection = parseConnectionQuery(query);
        if (typeof selection === 'string') return { status: 400, json: { error: selection } };
        if (Object.keys(selection).length > 0) return ok({ closed: await close(selection) });
        const names = CONNECTION_PARAMETERS.map(({ name }) => name).join(', ');
        return { status: 400, json: { error: `expected one of ${names}, found none` } };
      },
    },
  ];
}

function aboutStatus(targets: AdminTargets): readonly AdminEndpoint[] {
  const { observer, routeChanges } = targets;
  const streams = new EventStreams({
    status: () => statusOf(targets),
    traffic: () => targets.traffic(),
    observer,
  });
  routeChanges.subscribe((event) => streams.observe(event));
  return [
    {
      method: 'GET',
      path: '/status',
      summary: 'Version, start time, readiness, and the state of listeners, sources and drain',
      responses: { 200: { description: 'the status', schema: 'Status' } },
      respond: async () => ok(await statusOf(targets)),
    },
    {
      method: 'GET',
      path: '/events',
      summary: 'Server-sent events: status and traffic each second, and route changes',
      responses: {
        200: { description: 'an endless event stream', contentType: 'text/event-stream' },
        503: { description: 'too many streams', schema: 'Error' },
      },
      respond: ({ signal }) => {
        const stream = streams.open(signal);
        if (stream !== undefined) return { status: 200, contentType: 'text/event-stream', stream };
        const error = `too many event streams (limit ${MAX_STREAMS})`;
        return { status: 503, json: { error }, headers: { 'retry-after': '5' } };
      },
    },
  ];
}

function aboutLog(control: LogLevelControl): readonly AdminEndpoint[] {
  const responses = { 200: { description: 'the level in use', schema: 'LogLevel' } } as const;
  const level = { name: 'level', description: `one of ${LOG_LEVELS.join(', ')}`, required: true };
  return [
    {
      method: 'GET',
      path: '/log-level',
      summary: 'The log level',
      responses,
      respond: () => ok({ level: control.current }),
    },
    {
      method: 'PUT',
      path: '/log-level',
      summary: 'Sets the log level, until the process exits',
      query: [level],
      responses: { ...responses, 400: { description: 'unknown level', schema: 'Error' } },
      respond: ({ query }) => {
        const wanted = query.get('level');
        const found = LOG_LEVELS.find((one) => one === wanted);
        if (found === undefined)
          return {
            status: 400,
            json: { error: `expected ?level= as one of ${LOG_LEVELS.join(', ')}, found ${wanted ?? 'none'}` },
          };
        control.set(found);
        return ok({ level: control.current });
      },
    },
  ];
}

function aboutDrain({ drainProgress, shutDown }: AdminTargets): readonly AdminEndpoint[] {
  const query = [{ name: 'wait', description: `respond once drained, or after this time: 1s, at most ${MAX_WAIT}` }];
  const wrong = { 400: { description: 'invalid wait', schema: 'Error' } } as const;
  return [
    {
      method: 'GET',
      path: '/drain',
      summary: 'The progress of the drain',
      query,
      responses: { 200: { description: 'the progress', schema: 'Drain' }, ...wrong },
      respond: (request) => drainResponse(200, drainProgress, request),
    },
    {
      method: 'POST',
      path: '/drain',
      summary: 'Starts the drain, as SIGTERM does; the process exits once drained',
      query,
      responses: { 202: { description: 'the progress', schema: 'Drain' }, ...wrong },
      respond: async (request) => {
        if (waitOf(request) === undefined) return wrongWait(request);
        shutDown();
        // Responds first, since the drain starts within this turn of the event loop.
        await nextTurn();
        return drainResponse(202, drainProgress, request);
      },
    },
  ];
}

type DrainRequest = Pick<AdminRequest, 'query' | 'signal'>;

/**
 * Waits for the end of the drain as long as the request asks, and returns the progress. A waiting client thus receives
 * the result, although the process may exit right after its drain.
 */
async function drainResponse(
  status: number,
  drainProgress: AdminTargets['drainProgress'],
  request: DrainRequest,
): Promise<AdminResponse> {
  const waitMs = waitOf(request);
  if (waitMs === undefined) return wrongWait(request);
  const endsAt = performance.now() + Math.min(waitMs, MAX_WAIT_MS);
  const { signal } = request;
  for (let progress = await drainProgress(); ; progress = await drainProgress()) {
    if (progress.state === 'drained' || signal.aborted || performance.now() >= endsAt)
      return { status, json: drainView(progress) };
    await pause(LOOK_EVERY_MS, signal);
  }
}

/** Returns the time to wait in milliseconds; 0 when absent, `undefined` when invalid. */
function waitOf({ query }: DrainRequest): number | undefined {
  const wait = query.get('wait');
  return wait === null ? 0 : parseDuration(wait);
}

function wrongWait({ query }: DrainRequest): AdminResponse {
  const error = `expected wait to be ${DURATION_FORM}, found ${JSON.stringify(query.get('wait'))}`;
  return { status: 400, json: { error } };
}

/** Shorter than the silence after which a response is closed as stuck. */
const MAX_WAIT_MS = 10_000;
const MAX_WAIT = '10s';
const LOOK_EVERY_MS = 100;

function aboutReload(targets: Pick<AdminTargets, 'control'>): readonly AdminEndpoint[] {
  return [
    {
      method: 'GET',
      path: '/reload',
      summary: 'The configuration in use, without secrets; --check --against compares with it',
      responses: { 200: { description: 'the settings', schema: 'Settings' } },
      respond: () => ok(targets.control.settings),
    },
    {
      method: 'POST',
      path: '/reload',
      summary: 'Applies the configuration on disk, as SIGHUP does',
      responses: {
        200: { description: 'what changed, and what needs a restart', schema: 'Reload' },
        409: { description: 'an address or a source cannot be used; nothing changed', schema: 'ReloadRefusal' },
        422: { description: 'the configuration is invalid; nothing changed', schema: 'ReloadRefusal' },
      },
      respond: async () => reloadResponse(await targets.control.reload()),
    },
    {
      method: 'POST',
      path: '/upgrade',
      summary:
        'Starts a successor from the files on disk, hands it the sockets, and drains once it is ready, as SIGUSR2 does',
      responses: {
        200: { description: 'a successor has taken over', schema: 'Upgrade' },
        409: { description: 'no successor; the gateway continues as before', schema: 'Error' },
      },
      respond: async () => upgradeResponse(await targets.control.upgrade()),
    },
  ];
}

function upgradeResponse(outcome: UpgradeOutcome): AdminResponse {
  if (outcome.kind === 'handed over') return ok({ pid: outcome.pid });
  return { status: 409, json: { error: outcome.reason } };
}

function reloadResponse(outcome: ReloadOutcome): AdminResponse {
  if (outcome.kind === 'reloaded') return ok({ changes: outcome.changes });
  const { problems, isConfigWrong } = outcome;
  return { status: isConfigWrong ? 422 : 409, json: { error: problems.join('; '), problems } };
}

function ok(json: object): AdminResponse {
  return { status: 200, json };
}
