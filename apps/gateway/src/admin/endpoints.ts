import type { DrainProgress, Limits } from '@meshgate/core';
import type { Listeners, Outliers, RouteStore } from '@meshgate/core/parts';
import { exposition } from '@meshgate/metrics';
import type { Registry } from 'prom-client';
import type { Parts } from '../config/parts.ts';
import { withUnknownListeners } from '../config/unknown-listeners.ts';
import { requestedName, explain, isExact } from '../cli/explain.ts';
import { openApiOf } from './openapi.ts';
import { pluginEndpoints } from './plugin-paths.ts';
import type { AdminAnswer, AdminEndpoint } from './endpoint.ts';
import type { Readiness } from './readiness.ts';
import { drainView, listenerView, routesView } from './views.ts';
import type { ConnectionView } from './views.ts';

/** What the admin API shows and does. What other processes know of is asked of them. */
export interface AdminTargets {
  readonly routes: Pick<RouteStore, 'table' | 'sources'>;
  readonly listeners: Pick<Listeners, 'status'>;
  readonly outliers: Pick<Outliers, 'isEjected'>;
  readonly limits: Limits;
  /** Paths that plugins add. */
  readonly plugins: Pick<Parts, 'adminPaths'>;
  readiness(): Readiness;
  /** Live connections, oldest first. */
  connections(): Eventually<readonly ConnectionView[]>;
  metrics(): Eventually<Registry>;
  drainProgress(): Eventually<DrainProgress>;
  /** Starts the drain at whose end the process exits. */
  shutDown(): void;
}

type Eventually<T> = T | Promise<T>;

/** Every endpoint of the admin API: the one table from which it is routed, and the OpenAPI document made. */
export function adminEndpoints(targets: AdminTargets): readonly AdminEndpoint[] {
  const own = [
    ...probes(targets),
    ...aboutRoutes(targets),
    ...aboutConnections(targets),
    ...aboutDrain(targets),
    ...pluginEndpoints(targets.plugins.adminPaths),
  ];
  const endpoints: readonly AdminEndpoint[] = [
    {
      method: 'GET',
      path: '/',
      summary: 'The paths',
      answers: { 200: { description: 'the paths', schema: 'Paths' } },
      answer: () => ok({ paths: [...new Set(endpoints.map(({ path }) => path))] }),
    },
    ...own,
    {
      method: 'GET',
      path: '/openapi.json',
      summary: 'This document',
      answers: { 200: { description: 'an OpenAPI document', schema: 'OpenApi' } },
      answer: () => ok(openApiOf(endpoints)),
    },
  ];
  return endpoints;
}

function probes({ readiness, metrics }: AdminTargets): readonly AdminEndpoint[] {
  return [
    {
      method: 'GET',
      path: '/live',
      summary: 'Whether the process runs',
      answers: { 200: { description: 'it runs', schema: 'Live' } },
      answer: () => ok({ live: true }),
    },
    {
      method: 'GET',
      path: '/ready',
      summary: 'Whether traffic should be sent here',
      answers: {
        200: { description: 'ready', schema: 'Readiness' },
        503: { description: 'not ready, for these reasons', schema: 'Readiness' },
      },
      answer: () => {
        const now = readiness();
        return { status: now.ready ? 200 : 503, json: now };
      },
    },
    {
      method: 'GET',
      path: '/metrics',
      summary: 'Prometheus metrics; OpenMetrics by content negotiation',
      answers: { 200: { description: 'the metrics', contentType: 'text/plain' } },
      answer: async ({ accept }) => {
        const { contentType, body } = await exposition(await metrics(), accept);
        return { status: 200, contentType, text: body };
      },
    },
  ];
}

function aboutRoutes({ routes, listeners, outliers, limits }: AdminTargets): readonly AdminEndpoint[] {
  return [
    {
      method: 'GET',
      path: '/routes',
      summary: 'The route table, and the state of each source',
      answers: { 200: { description: 'the table', schema: 'Routes' } },
      answer: () => {
        const { table } = routes;
        const sources = withUnknownListeners(routes.sources, table, listeners.status);
        return ok(routesView({ table, sources }, limits.connectTimeoutMs, (address) => outliers.isEjected(address)));
      },
    },
    {
      method: 'GET',
      path: '/explain',
      summary: 'Which route takes a server name, and why',
      query: [
        { name: 'serverName', description: 'as a client sends it', required: true },
        { name: 'listener', description: 'name of the listener that the client connects to; any when absent' },
      ],
      answers: {
        200: { description: 'the route, or that there is none', schema: 'Explanation' },
        400: { description: 'no name, or one that no client can send', schema: 'Error' },
      },
      answer: ({ query }) => explanationOf(query, { routes, listeners, outliers }),
    },
  ];
}

function explanationOf(
  query: URLSearchParams,
  { routes, listeners, outliers }: Pick<AdminTargets, 'routes' | 'listeners' | 'outliers'>,
): AdminAnswer {
  const serverName = query.get('serverName') ?? '';
  if (serverName === '') return { status: 400, json: { error: 'expected ?serverName=NAME, found none' } };
  const requested = requestedName(serverName);
  const listener = query.get('listener');
  const explanation = explain(serverName, routes.table, {
    ...(listener !== null && { listener }),
    listeners: listeners.status,
    isEjected: (address) => outliers.isEjected(address),
  });
  if (requested.kind === 'name' || isExact(explanation)) return ok(explanation);
  return { status: 400, json: { error: requested.why } };
}

function aboutConnections({ connections, listeners }: AdminTargets): readonly AdminEndpoint[] {
  return [
    {
      method: 'GET',
      path: '/connections',
      summary: 'Live connections',
      answers: { 200: { description: 'live connections', schema: 'Connections' } },
      answer: async () => ok({ connections: await connections() }),
    },
    {
      method: 'GET',
      path: '/listeners',
      summary: 'Addresses, and whether they are bound',
      answers: { 200: { description: 'the listeners', schema: 'Listeners' } },
      answer: () => ok({ listeners: listeners.status.map(listenerView) }),
    },
  ];
}

function aboutDrain({ drainProgress, shutDown }: AdminTargets): readonly AdminEndpoint[] {
  return [
    {
      method: 'GET',
      path: '/drain',
      summary: 'The progress of the drain',
      answers: { 200: { description: 'the progress', schema: 'Drain' } },
      answer: async () => ok(drainView(await drainProgress())),
    },
    {
      method: 'POST',
      path: '/drain',
      summary: 'Starts to drain, as SIGTERM does; the process exits in the end',
      answers: { 202: { description: 'the progress', schema: 'Drain' } },
      answer: async () => {
        shutDown();
        return { status: 202, json: drainView(await drainProgress()) };
      },
    },
  ];
}

function ok(json: object): AdminAnswer {
  return { status: 200, json };
}
