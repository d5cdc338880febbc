import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BackendHealth, healthKey } from '../src/health/backend-health.ts';
import { CheckedBackend } from '../src/health/checked-backend.ts';
import { judgeResponse } from '../src/health/client-hello.ts';
import { HealthChecks } from '../src/health/health-checks.ts';
import { AddressBook } from '../src/names/address-book.ts';
import type { ProxyEvent } from '../src/observe.ts';
import { ProxyError } from '../src/errors.ts';
import type { HealthCheck, Route } from '../src/routes/route.ts';
import { formatEndpoint } from '../src/transport/endpoint.ts';
import type { Endpoint } from '../src/transport/endpoint.ts';
import type { Connection, Dial } from '../src/transport/transport.ts';

const CHECK: HealthCheck = { kind: 'tcp', intervalMs: 1_000, timeoutMs: 500, rise: 2, fall: 3 };

type Conduct = 'accepts' | 'refuses' | 'hangs' | 'shortage' | 'ignores its time';

/** A network whose addresses respond as the test sets, and health checks of them. The test controls the time. */
function harness(
  responses: Record<string, Conduct>,
  names: Record<string, readonly string[]> = {},
  random: () => number = () => 0.5,
) {
  const events: ProxyEvent[] = [];
  const observer = { observe: (event: ProxyEvent) => void events.push(event) };
  const dials: { readonly address: string; readonly at: number }[] = [];
  const active = { now: 0, most: 0 };
  const resolve = (host: string) =>
    names[host] === undefined
      ? Promise.reject(new Error('ENOTFOUND'))
      : Promise.resolve({ hosts: names[host], ttlSeconds: 1 });
  const health = new BackendHealth();
  const checks = new HealthChecks({
    transport: { dial: (to) => dialled(formatEndpoint(to)) },
    addresses: new AddressBook(observer, { resolve }),
    observer,
    onMark: (mark) => health.mark(mark),
    random,
  });
  const follow = (...routes: readonly Route[]): void => {
    const snapshot = { version: String(events.length), routes };
    checks.observe({ type: 'routes.replaced', source: 's', snapshot, removed: [], tookMs: 0 });
  };
  const observed = (type: ProxyEvent['type']) => events.filter((event) => event.type === type);
  return { responses, names, checks, health, follow, dials, active, observed };

  function dialled(address: string): Dial {
    dials.push({ address, at: performance.now() });
    active.now += 1;
    active.most = Math.max(active.most, active.now);
    let cut: Dial['cut'] = () => undefined;
    const done = new Promise<Connection>((respond, refuse) => {
      const kind = responses[address] ?? 'refuses';
      const timer = setTimeout(() => refuse(new ProxyError('CONNECT_TIMEOUT', 'no response')), CHECK.timeoutMs);
      if (kind === 'ignores its time') return clearTimeout(timer);
      cut = (reason) => (clearTimeout(timer), refuse(reason));
      if (kind !== 'hangs') clearTimeout(timer);
      if (kind === 'accepts') respond({ destroy: () => undefined } as Connection);
      if (kind === 'refuses') refuse(new ProxyError('CONNECT_REFUSED', 'ECONNREFUSED'));
      if (kind === 'shortage') refuse(new ProxyError('LOCAL_RESOURCE', 'EMFILE'));
    }).finally(() => (active.now -= 1));
    return { done, cut };
  }
}

const QUIET = { observe: () => undefined };

/** Pseudo-random numbers in [0, 1), the same in every run. */
function seeded(): () => number {
  let state = 42;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}

function at(host: string): Route['backends'][number] {
  return { address: { host, port: 1 }, weight: 1, healthy: true };
}

function route(hosts: readonly string[], more: Partial<Route> = {}): Route {
  return { name: 'r', serverNames: ['a.example'], backends: hosts.map(at), healthCheck: CHECK, ...more };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const intervals = (count: number): Promise<unknown> => vi.advanceTimersByTimeAsync(count * CHECK.intervalMs);

describe('health checks', () => {
  it('take a backend down after the configured consecutive failures, and bring it up after the passes', async () => {
    const { responses, checks, health, follow, observed } = harness({ '10.0.0.1:1': 'accepts' });
    const isDown = (): boolean => health.isDown(CHECK, at('10.0.0.1').address);
    follow(route(['10.0.0.1']));
    await checks.start();
    await intervals(2);
    expect(observed('backend.up')).toEqual([]);
    responses['10.0.0.1:1'] = 'refuses';
    await intervals(2);
    expect(isDown()).toBe(false);
    await intervals(2);
    expect(isDown()).toBe(true);
    expect(observed('backend.down')).toMatchObject([{ reason: 'ECONNREFUSED', address: { host: '10.0.0.1' } }]);
    responses['10.0.0.1:1'] = 'accepts';
    await intervals(1);
    expect(isDown()).toBe(true);
    await intervals(2);
    expect(isDown()).toBe(false);
    expect(observed('backend.up')).toHaveLength(1);
    await checks.stop();
  });

  it('take a backend down at its very first check', async () => {
    const { checks, health, follow } = harness({ '10.0.0.1:1': 'hangs' });
    follow(route(['10.0.0.1']));
    await checks.start();
    await intervals(1);
    expect(health.isDown(CHECK, at('10.0.0.1').address)).toBe(true);
    await checks.stop();
  });

  it('wait for the next one however long that is', async () => {
    const { checks, follow, dials } = harness({ '10.0.0.1:1': 'accepts' });
    follow(route(['10.0.0.1'], { healthCheck: { ...CHECK, intervalMs: 1e10 } }));
    await checks.start();
    await intervals(86_400);
    expect(dials).toHaveLength(1);
    await checks.stop();
  });

  it('continue although a transport does not keep to the time of a check, which then says nothing of the backend', async () => {
    const hosts = Array.from({ length: 150 }, (_, index) => `10.0.0.${index}`);
    const { checks, follow, dials, observed } = harness(
      Object.fromEntries(hosts.map((host) => [`${host}:1`, 'ignores its time'] as const)),
    );
    follow(route(hosts));
    await checks.start();
    await intervals(10);
    expect(dials.length).toBeGreaterThan(300);
    expect(observed('backend.down')).toEqual([]);
    const stopped = checks.stop();
    await intervals(1);
    await stopped;
  });

  it('say nothing of a backend when this machine is short of something', async () => {
    const { checks, follow, observed, dials } = harness({ '10.0.0.1:1': 'shortage' });
    follow(route(['10.0.0.1']));
    await checks.start();
    await intervals(5);
    expect(dials.length).toBeGreaterThan(3);
    expect([...observed('backend.checked'), ...observed('backend.down')]).toEqual([]);
    await checks.stop();
  });

  it('are shared for a backend with equal checks in several routes, and separate for different ones', async () => {
    const { checks, follow, dials } = harness({ '10.0.0.1:1': 'accepts' });
    const other = { ...CHECK, timeoutMs: 400 };
    follow(
      route(['10.0.0.1']),
      route(['10.0.0.1'], { healthCheck: { ...CHECK } }),
      route(['10.0.0.1'], { healthCheck: other }),
    );
    await checks.start();
    await intervals(0.5);
    expect(dials).toHaveLength(2);
    await checks.stop();
  });

  it('continue over a reload, and end with the last route that needs them', async () => {
    const { checks, health, follow, dials, observed } = harness({ '10.0.0.1:1': 'refuses' });
    follow(route(['10.0.0.1']));
    await checks.start();
    await intervals(1);
    follow(route(['10.0.0.1'], { healthCheck: { ...CHECK }, name: 'other' }));
    expect(health.isDown(CHECK, at('10.0.0.1').address)).toBe(true);
    follow({ ...route(['10.0.0.1']), healthCheck: undefined } as never);
    expect(health.marks).toEqual([]);
    expect(observed('backend.unchecked')).toHaveLength(1);
    const before = dials.length;
    await intervals(5);
    expect(dials).toHaveLength(before);
    await checks.stop();
    expect(vi.getTimerCount()).toBe(0);
  });

  it.each([
    ['its interval', { intervalMs: 2_000 }, true],
    ['how many failures it takes', { fall: 5, rise: 5 }, true],
    ['how long it takes a backend to start', { slowStartMs: 9_000 }, true],
    ['what it asks', { kind: 'tls' }, false],
    ['the name that it sends', { serverName: 'a.example' }, false],
  ] as const)(
    'continue with the known state of a backend when a reload changes %s: %o, %s',
    async (_what, more, isKept) => {
      const { checks, health, follow, observed } = harness(
        { '10.0.0.1:1': 'refuses', '10.0.0.2:1': 'refuses' },
        {
          'name.internal': ['10.0.0.2'],
        },
      );
      const changed = { ...CHECK, ...more };
      follow(route(['10.0.0.1', 'name.internal']));
      await checks.start();
      await intervals(1);
      const downs: string[] = [];
      health.onDown = (key) => void downs.push(key);
      follow(route(['10.0.0.1', 'name.internal'], { healthCheck: changed }));
      const isDown = (host: string): boolean => health.isDown(changed, at(host).address);
      expect(['10.0.0.1', 'name.internal', '10.0.0.2'].map(isDown)).toEqual([isKept, isKept, isKept]);
      expect(checks.reportOf(route([], { healthCheck: changed }), at('10.0.0.1').address)).toMatchObject({
        state: isKept ? 'down' : 'unknown',
      });
      expect([downs, observed('backend.down').length]).toEqual([[], 3 - 1]);
      await checks.stop();
    },
  );

  it('keep a name with several addresses down when a reload changes their interval', async () => {
    const { checks, follow, health, observed } = harness({}, { 'api.test': ['10.0.0.1', '10.0.0.2'] });
    const slower = { ...CHECK, intervalMs: 2_000 };
    follow(route(['api.test']));
    await checks.start();
    await intervals(1);
    expect(observed('backend.down')).toHaveLength(2);
    follow(route(['api.test'], { healthCheck: slower }));
    expect(health.isDown(slower, { host: 'api.test', port: 1 })).toBe(true);
    await checks.stop();
  });

  it('report a name without an address as down', async () => {
    const { checks, follow } = harness({});
    const gone = route(['gone.test']);
    follow(gone);
    await checks.start();
    await intervals(1);
    const address = { host: 'gone.test', port: 1 };
    expect(checks.reportOf(gone, address)).toMatchObject({
      state: 'down',
      addresses: [{ address, state: 'down', failure: expect.stringContaining('no address for gone.test') }],
    });
    await checks.stop();
  });

  it.each(['found', 'unknown'])(
    'ignore the addresses of a name when no route needs them any more: %s',
    async (what) => {
      let settle: () => void = () => undefined;
      const found = new Promise<readonly Endpoint[]>((resolve, reject) => {
        settle = () => (what === 'found' ? resolve([{ host: '10.0.0.1', port: 1 }]) : reject(new Error('ENOTFOUND')));
      });
      const events: ProxyEvent[] = [];
      const states: string[] = [];
      const checked = new CheckedBackend({
        backend: { host: 'api.test', port: 1 },
        check: CHECK,
        addresses: { find: () => found },
        observer: { observe: (event) => void events.push(event) },
        run: () => Promise.reject(new Error('expected no check, found one')),
        onMark: ({ state }) => void states.push(state),
      });
      const running = checked.runOnce();
      checked.forget();
      settle();
      await running;
      expect([events, states, checked.report]).toEqual([[], ['none'], { state: 'unknown', addresses: [] }]);
    },
  );

  it('keep the slow start of a backend when a reload changes their interval', async () => {
    const slow = { ...CHECK, rise: 1, fall: 1, slowStartMs: 100_000 };
    const changed = { ...slow, intervalMs: 5_000 };
    const { responses, checks, health, follow } = harness({ '10.0.0.1:1': 'refuses', '10.0.0.2:1': 'accepts' });
    follow(route(['10.0.0.1', '10.0.0.2'], { healthCheck: slow }));
    await checks.start();
    await intervals(1);
    responses['10.0.0.1:1'] = 'accepts';
    await intervals(2);
    expect(health.share(slow, at('10.0.0.1').address)).toBe(0.1);
    follow(route(['10.0.0.1', '10.0.0.2'], { healthCheck: changed }));
    const shares = ['10.0.0.1', '10.0.0.2'].map((host) => health.share(changed, at(host).address));
    expect(shares).toEqual([0.1, 1]);
    await checks.stop();
  });

  it('that are in progress when the last route is removed do not affect a later one', async () => {
    const { responses, checks, health, follow, observed } = harness({ '10.0.0.1:1': 'hangs' });
    const isDown = (): boolean => health.isDown(CHECK, at('10.0.0.1').address);
    follow(route(['10.0.0.1']));
    await checks.start();
    await intervals(0.2);
    follow();
    await intervals(1);
    expect([isDown(), observed('backend.down')]).toEqual([false, []]);
    responses['10.0.0.1:1'] = 'accepts';
    follow(route(['10.0.0.1']));
    await intervals(2);
    expect(isDown()).toBe(false);
    await checks.stop();
  });

  it('report nothing for a backend that a transport cannot dial, and continue', async () => {
    let dials = 0;
    const checks = new HealthChecks({
      transport: {
        dial: () => {
          dials += 1;
          throw new TypeError('a bug');
        },
      },
      addresses: new AddressBook(QUIET),
      observer: QUIET,
      onMark: () => undefined,
    });
    const snapshot = { version: 'v', routes: [route(['10.0.0.1'])] };
    checks.observe({ type: 'routes.replaced', source: 's', snapshot, removed: [], tookMs: 0 });
    await checks.start();
    await intervals(5);
    expect(dials).toBeGreaterThan(2);
    await checks.stop();
  });

  it('cover each address of a name, which is down when all of them are', async () => {
    const { responses, names, checks, health, follow } = harness(
      { '10.0.0.1:1': 'refuses', '10.0.0.2:1': 'accepts' },
      { 'db.internal': ['10.0.0.1', '10.0.0.2'] },
    );
    const to = route(['db.internal']);
    const [one, two] = [at('10.0.0.1').address, at('10.0.0.2').address];
    follow(to);
    await checks.start();
    await intervals(1);
    expect(health.usable(CHECK, [one, two])).toEqual([two]);
    expect(health.isDown(CHECK, at('db.internal').address)).toBe(false);
    expect(checks.reportOf(to, at('db.internal').address)).toMatchObject({
      state: 'up',
      addresses: [
        { address: one, state: 'down', failure: 'ECONNREFUSED' },
        { address: two, state: 'up' },
      ],
    });
    responses['10.0.0.2:1'] = 'refuses';
    await intervals(4);
    expect(health.isDown(CHECK, at('db.internal').address)).toBe(true);
    names['db.internal'] = ['10.0.0.2'];
    responses['10.0.0.2:1'] = 'accepts';
    await intervals(4);
    expect(health.isDown(CHECK, at('db.internal').address)).toBe(false);
    expect(checks.reportOf(to, at('db.internal').address)?.addresses).toMatchObject([{ address: two }]);
    await checks.stop();
  });

  it('take down a name that cannot be resolved', async () => {
    const { checks, health, follow, observed } = harness({});
    follow(route(['gone.internal']));
    await checks.start();
    await intervals(1);
    expect(health.isDown(CHECK, at('gone.internal').address)).toBe(true);
    expect(observed('backend.down')).toMatchObject([{ reason: 'no address for gone.internal: ENOTFOUND' }]);
    await checks.stop();
  });

  it('of many unresponsive backends are spread, and at most 100 at a time', async () => {
    const hosts = Array.from({ length: 1_000 }, (_, index) => `10.0.${index >> 8}.${index & 255}`);
    const silent = Object.fromEntries(hosts.map((host) => [`${host}:1`, 'hangs' as const]));
    const { checks, follow, active, dials } = harness(silent, {}, seeded());
    follow(route(hosts));
    await checks.start();
    await intervals(0.1);
    expect(dials.length).toBeGreaterThan(50);
    expect(dials.length).toBeLessThanOrEqual(100);
    await intervals(2);
    expect(dials.length).toBeGreaterThan(300);
    expect(active.most).toBe(100);
    await checks.stop();
    expect(active.now).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('a backend that was down', () => {
  const check = { ...CHECK, slowStartMs: 10_000 };
  const { address } = at('10.0.0.1');

  it('gets a growing part of its share during the slow start, from a tenth on', () => {
    const health = new BackendHealth();
    health.mark({ key: healthKey(check, address), state: 'up', forMs: 0 });
    expect(health.share(check, address)).toBe(0.1);
    vi.advanceTimersByTime(5_000);
    expect(health.share(check, address)).toBeCloseTo(0.5);
    vi.advanceTimersByTime(60_000);
    expect(health.share(check, address)).toBe(1);
  });

  it('gets all of it at once without a slow start, and so does one that was never down', () => {
    const health = new BackendHealth();
    health.mark({ key: healthKey(CHECK, address), state: 'up', forMs: 0 });
    expect(health.share(CHECK, address)).toBe(1);
    expect(health.share(check, at('10.0.0.2').address)).toBe(1);
  });
});

describe('the response to a ClientHello', () => {
  const bytes = (...values: readonly number[]): Buffer => Buffer.from(values);
  const UNRECOGNIZED_NAME = 112;

  it.each([
    ['nothing', bytes(), 'more'],
    ['half of a record', bytes(22, 3, 3, 0), 'more'],
    ['a ServerHello', bytes(22, 3, 3, 0, 90, 2), 'server-hello'],
    ['a fatal alert', bytes(21, 3, 3, 0, 2, 2, 40), 'failed'],
    ['a warning alone', bytes(21, 3, 3, 0, 2, 1, UNRECOGNIZED_NAME), 'more'],
    ['a warning before a ServerHello', bytes(21, 3, 3, 0, 2, 1, UNRECOGNIZED_NAME, 22, 3, 3, 0, 90, 2), 'server-hello'],
    ['a warning of a length that never comes', bytes(21, 3, 3, 255, 255, 1, 0), 'more'],
    ['another message', bytes(22, 3, 3, 0, 9, 1), 'failed'],
    ['HTTP', Buffer.from('HTTP/1.1 400 Bad Request\r\n'), 'failed'],
  ])('%s', (_, response, kind) => expect(judgeResponse(response).kind).toBe(kind));
});
