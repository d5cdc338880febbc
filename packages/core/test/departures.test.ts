import { describe, expect, it } from 'vitest';
import { BackendHealth, healthKey } from '../src/health/backend-health.ts';
import { Departures } from '../src/lifecycle/departures.ts';
import type { DeparturesOptions } from '../src/lifecycle/departures.ts';
import type { ProxyEvent } from '../src/observe.ts';
import { indexRoutes, RouteTable } from '../src/routes/route-table.ts';
import type { HealthCheck, Route } from '../src/routes/route.ts';

const AT_ONCE = { graceMs: 0, spreadMs: 0 };
const BACKEND = { address: { host: '10.0.0.1', port: 1 }, weight: 1, healthy: true };
const CHECK: HealthCheck = { kind: 'tcp', intervalMs: 1_000, timeoutMs: 500, rise: 1, fall: 1 };

function routeOf(more: Partial<Route>): Route {
  return { name: 'api', serverNames: ['api.example.com'], backends: [BACKEND], ...more };
}

/** Departures of `routes`, and a session for each of `reached`: the route that it was connected through, if any. */
function harness(routes: readonly Route[], reached: readonly (Route | undefined)[]) {
  const events: ProxyEvent[] = [];
  const closed: string[] = [];
  const sessions = reached.map((route) => ({
    reached: route && { upstream: { route, backend: BACKEND, address: BACKEND.address }, connectedAt: 0 },
    lastByteAt: 0,
    watchReached: () => undefined,
    cut: () => closed.push(route?.name ?? 'none') > 0,
  }));
  const health = new BackendHealth();
  const departures = new Departures({
    // The parts of a session that are read here.
    sessions: sessions as unknown as DeparturesOptions['sessions'],
    table: () => new RouteTable([indexRoutes('s', { version: '2', routes })]),
    health,
    observer: { observe: (event) => void events.push(event) },
  });
  const departed = () => events.filter(({ type }) => type === 'backend.departed');
  const replace = (...before: readonly Route[]): void =>
    departures.observe({
      type: 'routes.replaced',
      source: 's',
      snapshot: { version: '2', routes },
      previous: { version: '1', routes: before },
      removed: [],
      tookMs: 0,
    });
  return { departures, health, departed, closed, replace };
}

describe('connections whose backend departs', () => {
  it('are found among sessions without a backend, and among those of routes that are gone', async () => {
    const route = routeOf({ healthCheck: CHECK, onBackendDown: AT_ONCE });
    const { health, departed, closed, departures } = harness([route], [undefined, routeOf({ name: 'gone' }), route]);
    health.mark({ key: healthKey(CHECK, BACKEND.address), state: 'down', forMs: 0 });
    await expect.poll(() => closed).toEqual(['api']);
    expect(departed()).toMatchObject([{ why: 'down', connections: 1 }]);
    await departures.stop();
  });

  it('continue if the proxy stops within the grace period', async () => {
    const route = routeOf({ onBackendRemoved: { graceMs: 60_000, spreadMs: 0 } });
    const { replace, departed, closed, departures } = harness([{ ...route, backends: [] }], [route]);
    replace(route);
    await expect.poll(departed).toHaveLength(1);
    await departures.stop();
    replace(route);
    await new Promise((resolve) => setImmediate(resolve));
    expect([departed().length, closed]).toEqual([1, []]);
  });

  it('continue on a route with egress that closes only those to backends that are down', async () => {
    const egress = routeOf({ egress: { port: 443 }, backends: [], onBackendDown: AT_ONCE });
    const removed = routeOf({ name: 'other', onBackendRemoved: AT_ONCE });
    const { replace, departed, closed } = harness([{ ...removed, backends: [] }], [egress, removed]);
    replace(egress, removed);
    await expect.poll(() => closed).toEqual(['other']);
    expect(departed()).toHaveLength(1);
  });
});
