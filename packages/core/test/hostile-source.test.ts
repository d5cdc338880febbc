// A source is third-party JavaScript: it may yield anything, throw, hang or never stop. It must only harm itself.
import { runInNewContext } from 'node:vm';
import { afterEach, describe, expect, it } from 'vitest';
import type { ProxyEvent } from '../src/observe.ts';
import type { Route, RouteSnapshot, RouteSource } from '../src/routes/route.ts';
import { RouteStore } from '../src/routes/route-store.ts';
import { Cell } from '../src/watch/cell.ts';
import { aborted } from '../src/watch/scope.ts';

const { signal: never } = new AbortController();
const GOOD: Route = {
  name: 'api',
  serverNames: ['api.example'],
  backends: [{ address: { host: '10.0.0.1', port: 443 }, weight: 1, healthy: true }],
};

function snapshot(version: string, over: object = {}): RouteSnapshot {
  return { version, routes: [{ ...GOOD, ...over }] };
}

/** Yields whatever the test sets, unchecked. */
function source(yielded: Cell<unknown>, name = 'plugin'): RouteSource {
  return { name, watch: (signal) => yielded.watch(signal) as AsyncIterable<RouteSnapshot> };
}

function routesFrom(watch: (signal: AbortSignal) => unknown, name = 'plugin'): RouteSource {
  return { name, watch: watch as RouteSource['watch'] };
}

const started: RouteStore[] = [];
afterEach(async () => {
  for (const store of started.splice(0)) await store.stop().catch(() => undefined);
});

async function storeOf(...sources: RouteSource[]) {
  const events: ProxyEvent[] = [];
  const changes = new Cell<number>();
  const observe = (event: ProxyEvent): void => {
    events.push(event);
    changes.set(events.length);
  };
  const store = new RouteStore({ sources, observer: { observe }, patienceMs: 100 });
  started.push(store);
  await store.start(never);
  const count = (type: ProxyEvent['type']): number => events.filter((event) => event.type === type).length;
  /** Waits for this many events of the type since the start. */
  const reaches = async (type: ProxyEvent['type'], times: number): Promise<void> => {
    while (count(type) < times) await changes.changed(changes.revision, never);
  };
  return { store, events, count, reaches, port: () => store.table.lookup('api.example')?.backends[0]?.address.port };
}

const throwingGetter = {
  version: '2',
  get routes(): never {
    throw new Error('a getter threw');
  },
};

describe('an unusable snapshot is refused as a whole: the last good one stays, the next good one is used', () => {
  it.each<readonly [what: string, yielded: unknown, reason: string]>([
    ['without server names', { version: '2', routes: [{ name: 'x', backends: [] }] }, 'serverNames: expected a list'],
    ['without a version', { routes: [GOOD] }, 'version: expected a non-empty string'],
    ['whose version is a number', { version: 2, routes: [GOOD] }, 'version: expected a non-empty string'],
    ['that is nothing', null, 'expected a snapshot, found null'],
    ['that is undefined', undefined, 'expected a snapshot, found undefined'],
    ['that is a string', 'routes', 'expected a snapshot, found "routes"'],
    ['whose routes are no list', { version: '2', routes: {} }, 'routes: expected a list'],
    ['with a route that is null', { version: '2', routes: [null] }, 'routes.0: expected a route'],
    ['with a port out of range', snapshot('2', { backends: backend({ port: 100_721 }) }), 'port: expected an integer'],
    ['with a weight that is no number', snapshot('2', { backends: backend({}, NaN) }), 'weight: expected an integer'],
    ['with a getter that throws', throwingGetter, 'a getter threw'],
    ['with an age that is no date', { ...snapshot('2'), asOf: 'yesterday' }, 'asOf: expected a valid Date'],
  ])('%s', async (_what, bad, reason) => {
    const yielded = new Cell<unknown>();
    yielded.set(snapshot('1'));
    const { store, events, reaches, port } = await storeOf(source(yielded));
    yielded.set(bad);
    await reaches('source.refused', 1);
    expect(store.sources).toMatchObject([{ name: 'plugin', state: 'failing', routes: 1 }]);
    expect(store.sources[0]?.error?.message).toContain(reason);
    expect(port()).toBe(443);
    yielded.set(snapshot('3', { backends: backend({ port: 444 }) }));
    await reaches('routes.replaced', 2);
    expect([port(), store.sources[0]?.state, store.sources[0]?.error]).toEqual([444, 'current', undefined]);
    expect(events.filter(({ type }) => type === 'source.failed')).toEqual([]);
  });

  it.each<readonly [what: string, over: object, reason: string]>([
    ['an age that is no date', { asOf: 'yesterday' }, 'asOf: expected a valid Date, found "yesterday"'],
    ['warnings that are a number', { warnings: 5 }, 'warnings: expected a list of strings, found 5'],
    ['no routes', { routes: undefined }, 'routes: expected a list, found undefined'],
  ])('also if its version is in use and it has %s', async (_what, over, reason) => {
    const yielded = new Cell<unknown>();
    yielded.set(snapshot('1'));
    const { store, events, reaches, port } = await storeOf(source(yielded));
    yielded.set({ ...snapshot('1'), ...over });
    await reaches('source.refused', 1);
    expect(store.sources[0]?.error?.message).toBe(`snapshot refused: ${reason}`);
    expect(events.filter(({ type }) => type === 'source.updated')).toHaveLength(1);
    expect(port()).toBe(443);
  });

  it('is reported once when it is repeated', async () => {
    const yielded = new Cell<unknown>();
    const { store, count, reaches } = await storeOf(source(yielded));
    for (let times = 0; times < 10; times += 1) {
      yielded.set({ version: `${times}`, routes: [null] });
      await new Promise((resolve) => setImmediate(resolve));
    }
    yielded.set(snapshot('good'));
    await reaches('routes.replaced', 1);
    expect([count('source.refused'), store.sources[0]?.state]).toEqual([1, 'current']);
  });

  it('names unusual but usable parts among the warnings of the source', async () => {
    const yielded = new Cell<unknown>();
    yielded.set(snapshot('1', { serverNames: ['API.example.'] }));
    const { store } = await storeOf(source(yielded));
    expect(store.sources[0]).toMatchObject({
      state: 'current',
      warnings: [expect.stringContaining('no client can send')],
    });
  });
});

describe('a snapshot', () => {
  it('may be an instance of a class, with its fields behind getters', async () => {
    class Snapshot {
      get version() {
        return '1';
      }
      get routes() {
        return [GOOD];
      }
      get warnings() {
        return ['half of the list is missing'];
      }
    }
    const yielded = new Cell<unknown>();
    yielded.set(new Snapshot());
    const { store, port } = await storeOf(source(yielded));
    expect(port()).toBe(443);
    expect(store.sources[0]?.warnings).toEqual(['half of the list is missing']);
  });

  it('may be of another realm, its dates included', async () => {
    const yielded = new Cell<unknown>();
    const made: unknown = runInNewContext('({ ...given, routes: [...given.routes], asOf: new Date(1_000) })', {
      given: snapshot('1'),
    });
    yielded.set(made);
    const { store, port } = await storeOf(source(yielded));
    expect(port()).toBe(443);
    expect(store.sources[0]?.lastSuccess?.getTime()).toBe(1_000);
  });
});

describe('a source that misbehaves', () => {
  it('and changes the one snapshot that it yields again and again is heard each time', async () => {
    const one = { version: '1', routes: [GOOD] };
    const yielded = new Cell<unknown>();
    yielded.set(one);
    const { store, reaches, events } = await storeOf(source(yielded));
    one.version = '2';
    one.routes.splice(0, 1, { ...GOOD, serverNames: ['other.example'] });
    yielded.set(one);
    await reaches('routes.replaced', 2);
    expect(store.table.lookup('other.example')?.name).toBe('api');
    expect(events.filter(({ type }) => type === 'routes.replaced')).toMatchObject([
      { snapshot: { version: '1', routes: [{ serverNames: ['api.example'] }] } },
      { snapshot: { version: '2' }, previous: { version: '1' } },
    ]);
  });

  it('and yields without ever waiting lets others have their turn, and makes few changes', async () => {
    let version = 0;
    const endless = routesFrom(async function* (signal: AbortSignal) {
      while (!signal.aborted) yield snapshot(`${(version += 1)}`);
    });
    const began = performance.now();
    const { count } = await storeOf(endless);
    for (let turns = 0; turns < 100; turns += 1) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(version).toBeGreaterThan(100);
    // A burst of 20, then five a second.
    expect(count('routes.replaced')).toBeLessThan(25 + (5 * (performance.now() - began)) / 1_000);
  });

  it('and throws instead of returning a sequence is restarted', async () => {
    let calls = 0;
    const broken = routesFrom((signal: AbortSignal) => {
      calls += 1;
      if (calls === 1) throw new Error('no sequence today');
      const cell = new Cell<unknown>();
      cell.set(snapshot('1'));
      return cell.watch(signal);
    });
    const { store, reaches } = await storeOf(broken);
    expect(store.sources[0]?.error?.message).toBe('no sequence today');
    await reaches('routes.replaced', 1);
    expect(store.sources[0]?.state).toBe('current');
  });

  it.each<readonly [what: string, value: unknown]>([
    ['nothing', undefined],
    ['a number', 7],
    ['a list of nothing iterable', { next: 'soon' }],
  ])('and returns %s instead of a sequence fails with a reason', async (_what, value) => {
    const { store, count } = await storeOf(routesFrom(() => value));
    expect(store.sources[0]?.state).toBe('failing');
    expect(count('source.failed')).toBe(1);
  });

  it('and never stops is abandoned after its time, and named', async () => {
    const { store } = await storeOf(
      routesFrom(() => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }) }), 'stuck'),
    );
    await expect(store.stop()).rejects.toThrow('source stuck did not stop when its signal aborted, left behind');
    started.length = 0;
  });

  it('and rejects when it is stopped is ignored', async () => {
    const { store } = await storeOf(
      routesFrom((signal) => {
        return {
          [Symbol.asyncIterator]: () => ({
            next: () => aborted(signal).then(() => ({ done: false, value: snapshot('late') })),
            return: () => Promise.reject(new Error('will not go')),
          }),
        };
      }),
    );
    await store.stop();
  });

  it('does not affect other sources', async () => {
    const good = new Cell<unknown>();
    good.set(snapshot('1'));
    const bad = new Cell<unknown>();
    bad.set({ version: '1', routes: 'all of them' });
    const { store, port } = await storeOf(source(bad, 'bad'), source(good, 'good'));
    expect([port(), store.sources.map(({ state }) => state)]).toEqual([443, ['failing', 'current']]);
  });

  it('is reported with the cause of its error', async () => {
    const cause = new Error('connect ECONNREFUSED 127.0.0.1:8080');
    const { store, reaches } = await storeOf(
      routesFrom(() => {
        throw new TypeError('fetch failed', { cause });
      }),
    );
    await reaches('source.failed', 1);
    expect(store.sources[0]?.error?.message).toBe('fetch failed: connect ECONNREFUSED 127.0.0.1:8080');
  });

  it('is reported when it fails right after a good snapshot', async () => {
    const { store, reaches, port } = await storeOf(
      routesFrom(async function* () {
        yield snapshot('1');
        throw new Error('and gone');
      }),
    );
    await reaches('routes.replaced', 1);
    expect([port(), store.sources[0]?.state, store.sources[0]?.error?.message]).toEqual([443, 'failing', 'and gone']);
  });
});

function backend(address: object, weight: number = 1): unknown {
  return [{ address: { host: '10.0.0.1', port: 443, ...address }, weight, healthy: true }];
}

describe('a source with thousands of warnings', () => {
  it('has its first warnings shown, the number of the others, and the last', async () => {
    const warnings = Array.from({ length: 20_000 }, (_, index) => `line ${index}`);
    const yielded = new Cell<unknown>();
    yielded.set({ ...snapshot('1'), warnings: [...warnings, 'the last good ones are in use'] });
    const { store } = await storeOf(source(yielded));
    const shown = store.sources[0]?.warnings ?? [];
    expect(shown).toHaveLength(100);
    expect([shown[0], ...shown.slice(-2)]).toEqual([
      'line 0',
      'and 19902 more warnings',
      'the last good ones are in use',
    ]);
  });
});
