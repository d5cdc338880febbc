// Choosing backends in edge cases: no backend, clients without an address, slow start, limits that are reached.
import { describe, expect, it, vi } from 'vitest';
import { ProxyError } from '../src/errors.ts';
import { BackendHealth, healthKey } from '../src/health/backend-health.ts';
import { Loads } from '../src/pipeline/loads.ts';
import { BackendSlot, withSlots } from '../src/pipeline/backend-slots.ts';
import { picker } from '../src/pipeline/balance.ts';
import { Candidates } from '../src/pipeline/candidates.ts';
import type { Upstream } from '../src/pipeline/connection.ts';
import { FailoverGroups } from '../src/pipeline/failover-groups.ts';
import { Outliers } from '../src/pipeline/outliers.ts';
import { RecentTroubles } from '../src/pipeline/recent-troubles.ts';
import type { ConnectContext } from '../src/pipeline/stages.ts';
import type { Backend, BuiltInBalance, HealthCheck, Route } from '../src/routes/route.ts';
import type { Connection } from '../src/transport/transport.ts';

const QUIET = { observe: () => undefined };
const CHECK: HealthCheck = { kind: 'tcp', intervalMs: 1, timeoutMs: 1, rise: 1, fall: 1, slowStartMs: 100 };

function backend(host: string, more: Partial<Backend> = {}): Backend {
  return { address: { host, port: 1 }, weight: 1, healthy: true, ...more };
}

function client(host: string) {
  const at = { host, port: 1 };
  return { connection: { id: '1', listener: 'l', remote: at, local: at, at: 0 }, hello: { protocol: 'x' } };
}

const ALL: readonly BuiltInBalance[] = ['round_robin', 'least_connections', 'random', 'client_hash', 'name_hash'];

describe.each(ALL)('the balance %s', (balance) => {
  const options = { load: () => 0, random: Math.random };

  it('refuses to choose among no backends', () => {
    expect(() => picker(balance, options).pick([], client('192.0.2.1'))).toThrow(RangeError);
  });

  it('chooses one of them for a client without an address, without a name, and with weights that are no numbers', () => {
    const odd = [NaN, 0, -1, Infinity].map((weight) => backend(`${weight}`, { weight }));
    for (const host of ['unix:/run/app.sock', '', 'somebody', '::1', '192.0.2.1'])
      for (const from of [odd, odd.slice(0, 1), [backend('a'), backend('b')]])
        expect(from).toContain(picker(balance, options).pick(from, client(host)));
  });

  it('chooses the last one where chance is at its end', () => {
    const from = [backend('a'), backend('b')];
    expect(from).toContain(picker(balance, { load: () => 0, random: () => 1 }).pick(from, client('::1')));
  });
});

describe('candidates', () => {
  function candidates(random = 0, preference: { current: Readonly<Record<string, string>> } = { current: {} }) {
    const health = new BackendHealth();
    const outliers = new Outliers(QUIET, { consecutiveFailures: 1, baseEjectionMs: 1e9, maxEjectionMs: 1e9 });
    const options = {
      health,
      outliers,
      failover: new FailoverGroups(QUIET),
      random: () => random,
      get preference() {
        return preference.current;
      },
    };
    return { health, outliers, all: new Candidates(options) };
  }
  const route = (backends: readonly Backend[], more: Partial<Route> = {}): Route => ({
    name: 'r',
    serverNames: [],
    backends,
    ...more,
  });

  it.each([
    ['is passed over for most connections', 0.5, ['b']],
    ['gets its part of them', 0.05, ['a', 'b']],
  ])('one that starts slowly %s', (_what, random, expected) => {
    vi.useFakeTimers();
    const { health, all } = candidates(random);
    const backends = [backend('a'), backend('b')];
    health.mark({ key: healthKey(CHECK, backend('a').address), state: 'up', forMs: 0 });
    const hosts = all.among(route(backends, { healthCheck: CHECK }), backends).map(({ address }) => address.host);
    expect(hosts).toEqual(expected);
    vi.advanceTimersByTime(100);
    expect(all.among(route(backends, { healthCheck: CHECK }), backends)).toHaveLength(2);
    vi.useRealTimers();
  });

  it('all start slowly together, and are all used then', () => {
    const { health, all } = candidates(0.99);
    const backends = [backend('a'), backend('b')];
    for (const { address } of backends) health.mark({ key: healthKey(CHECK, address), state: 'up', forMs: 0 });
    expect(all.among(route(backends, { healthCheck: CHECK }), backends)).toEqual(backends);
    expect(health.marks).toMatchObject([{ state: 'up' }, { state: 'up' }]);
  });

  it.each([
    ['try', 2],
    ['refuse', 0],
  ] as const)('that are all down: the route says %s', (whenAllDown, count) => {
    const { health, all } = candidates();
    const check = { ...CHECK, whenAllDown };
    const backends = [backend('a'), backend('b')];
    for (const { address } of backends) health.mark({ key: healthKey(check, address), state: 'down', forMs: 0 });
    expect(all.among(route(backends, { healthCheck: check }), backends)).toHaveLength(count);
    expect(
      health.usable(
        check,
        backends.map(({ address }) => address),
      ),
    ).toHaveLength(2);
  });

  it('are near by the labels that are preferred now', () => {
    const preference = { current: { zone: 'a' } };
    const { all } = candidates(0, preference);
    const backends = ['a', 'b'].map((zone) => backend(zone, { labels: { zone } }));
    const near = (): readonly string[] => all.among(route(backends), backends).map(({ address }) => address.host);
    expect(near()).toEqual(['a']);
    preference.current = { zone: 'b' };
    expect(near()).toEqual(['b']);
  });

  it('that are ejected come last, for as long as ejections last, however long that is', () => {
    vi.useFakeTimers();
    const { outliers, all } = candidates();
    const backends = [backend('a'), backend('b')];
    outliers.failed(backend('a').address);
    vi.advanceTimersByTime(86_400_000);
    expect(all.among(route(backends), backends).map(({ address }) => address.host)).toEqual(['b']);
    outliers.clear();
    vi.useRealTimers();
  });
});

describe('a limit of connections to one backend', () => {
  const route = { name: 'r', serverNames: [], backends: [], limits: { perBackend: 2 } };

  it('is kept exactly, however often a place is given back', () => {
    const used = new Loads();
    const slots = Array.from({ length: 3 }, () => new BackendSlot(route, used, 2));
    const [one, two, three] = slots as [BackendSlot, BackendSlot, BackendSlot];
    expect(slots.map((slot) => slot.moveTo(backend('a')))).toEqual([true, true, false]);
    one.release();
    one.release();
    expect([three.moveTo(backend('a')), one.moveTo(backend('a')), one.moveTo(backend('b'))]).toEqual([
      true,
      false,
      true,
    ]);
    for (const slot of slots) slot.release();
    two.release();
    expect(used.size).toBe(0);
  });

  it.each<[reason: unknown, code: string, message: string]>([
    [new ProxyError('NO_BACKEND', 'none'), 'LIMIT_REACHED', 'no backend has less than 2 connections'],
    [new ProxyError('CONNECT_REFUSED', 'b refused'), 'LIMIT_REACHED', '; of the others: b refused'],
    [new ProxyError('DOWNSTREAM_RESET', 'left'), 'DOWNSTREAM_RESET', 'left'],
    [new ProxyError('CLOSED_BY_DRAIN', 'draining'), 'CLOSED_BY_DRAIN', 'draining'],
    [new Error('oops'), 'none', 'oops'],
  ])('explains a failure that it has to do with: %s', (reason, code, message) => {
    const used = new Loads();
    for (const load of [used.open(), used.open()]) load.moveTo('a:1 r');
    const slot = new BackendSlot(route, used, 2);
    expect(slot.explained(reason)).toBe(reason);
    slot.moveTo(backend('a'));
    const explained = slot.explained(reason) as Error & { readonly code?: string };
    expect([explained.code ?? 'none', explained.message]).toEqual([code, expect.stringContaining(message)]);
  });

  it('gives its place back when nothing is reached, or what was reached is over', async () => {
    const outcomes: (() => Promise<Upstream>)[] = [
      () => Promise.reject(new ProxyError('NO_BACKEND', 'none')),
      () =>
        Promise.resolve({
          connection: {} as Connection,
          route,
          backend: backend('a'),
          address: backend('a').address,
          release: () => undefined,
        }),
    ];
    const connector = withSlots(0.5, (_route, _context, _withinMs, slot) => {
      if (slot?.moveTo(backend('a')) === false) throw new ProxyError('NO_BACKEND', 'full');
      return (outcomes.shift() as () => Promise<Upstream>)();
    });
    const context = {} as ConnectContext;
    await expect(connector.connect(route, context)).rejects.toMatchObject({ code: 'NO_BACKEND' });
    const upstream = await connector.connect(route, context);
    await expect(connector.connect(route, context)).rejects.toMatchObject({ code: 'LIMIT_REACHED' });
    upstream.release({ bytesUp: 0, bytesDown: 0 });
    outcomes.push(() => Promise.reject(new ProxyError('NO_BACKEND', 'none')));
    await expect(connector.connect(route, context)).rejects.toMatchObject({ code: 'NO_BACKEND', message: 'none' });
  });
});

it('a listener that is closed while it is paused is no trouble any more', () => {
  const troubles = new RecentTroubles();
  troubles.observe({ type: 'listener.paused', listener: 'edge', reason: new Error('EMFILE') });
  expect(troubles.warnings).toEqual(['listener edge does not accept: EMFILE']);
  troubles.observe({ type: 'listener.closed', listener: 'edge' });
  expect(troubles.warnings).toEqual([]);
});
