import { runInNewContext } from 'node:vm';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { Cell } from '../src/watch/cell.ts';
import { follow } from '../src/watch/follow.ts';
import { QuerySet } from '../src/watch/query-set.ts';
import type { Query } from '../src/watch/query-set.ts';
import { answered, failed, NO_READING } from '../src/watch/reading.ts';
import type { Reading } from '../src/watch/reading.ts';
import { aborted, openScope, pause, settlesWithin } from '../src/watch/scope.ts';
import { WatchSet } from '../src/watch/watch-set.ts';

const { signal: never } = new AbortController();
// An error of another realm, as from a plugin with its own context: `instanceof` is false for it.
const ForeignPromise = runInNewContext('Promise') as PromiseConstructor;

describe('a scope', () => {
  it('ends with the one around it, with its reason', () => {
    const outer = openScope();
    const inner = openScope(outer.signal);
    outer.end('enough');
    expect([inner.signal.aborted, inner.signal.reason]).toEqual([true, 'enough']);
  });

  it('ends at once within one that has ended', () => {
    expect(openScope(AbortSignal.abort()).signal.aborted).toBe(true);
  });

  it('leaves nothing with the outer one once it has ended', () => {
    const outer = new AbortController();
    const remove = vi.spyOn(outer.signal, 'removeEventListener');
    const inner = openScope(outer.signal);
    inner.end();
    inner.end();
    expect(remove).toHaveBeenCalledWith('abort', expect.any(Function));
    expect(outer.signal.aborted).toBe(false);
  });

  it('can be awaited before or after its end', async () => {
    const scope = openScope();
    const before = aborted(scope.signal);
    scope.end();
    await Promise.all([before, aborted(scope.signal)]);
  });

  it.each<readonly [work: () => Promise<unknown>, ms: number, signal: AbortSignal | undefined, expected: boolean]>([
    [() => Promise.resolve(), 60_000, undefined, true],
    [() => Promise.reject(new Error('failed')), 60_000, undefined, true],
    [() => new Promise(() => undefined), 1, undefined, false],
    [() => new Promise(() => undefined), 60_000, AbortSignal.abort(), false],
    // From plugins, which are JavaScript.
    [() => undefined as unknown as Promise<void>, 60_000, undefined, true],
    [() => ForeignPromise.resolve(), 60_000, undefined, true],
    [() => new ForeignPromise(() => undefined), 1, undefined, false],
  ])('bounds a wait: case %#', async (work, ms, signal, expected) => {
    expect(await settlesWithin(work(), ms, signal)).toBe(expected);
  });

  it.each([Infinity, 2 ** 31, 1e15])('waits, and does not end at once, when there are %d ms for it', async (ms) => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    let isOver = false;
    const { signal, end } = openScope();
    const waiting = pause(ms, signal).then(() => (isOver = true));
    await vi.advanceTimersByTimeAsync(86_400_000);
    expect(isOver).toBe(false);
    end();
    await waiting;
  });
});

describe('a cell', () => {
  it('yields its value first, then the latest after each change, to any number of readers', async () => {
    const cell = new Cell<number>();
    cell.set(1);
    const readers = [cell.watch(never), cell.watch(never)];
    expect(await Promise.all(readers.map((reader) => reader.next()))).toMatchObject([{ value: 1 }, { value: 1 }]);
    cell.set(2);
    cell.set(3);
    expect(await Promise.all(readers.map((reader) => reader.next()))).toMatchObject([{ value: 3 }, { value: 3 }]);
  });

  it('yields undefined, too, once that was set', async () => {
    const cell = new Cell<undefined>();
    const first = cell.watch(never).next();
    cell.set(undefined);
    expect(await first).toEqual({ done: false, value: undefined });
  });

  it('ends its readers when their signal aborts, and keeps none of them', async () => {
    const cell = new Cell<number>();
    const scope = openScope();
    const waiting = cell.watch(scope.signal).next();
    scope.end();
    expect((await waiting).done).toBe(true);
  });

  it('allows a wait with a timeout', async () => {
    const cell = new Cell<number>();
    await cell.changed(cell.revision, never, 1);
    expect(cell.revision).toBe(0);
  });

  it('misses no value that was set without a waiter', async () => {
    const cell = new Cell<number>();
    const seen = cell.revision;
    cell.set(1);
    await cell.changed(seen, never);
    expect(cell.value).toBe(1);
  });
});

describe('the policy for readings', () => {
  const before = new Date(0);
  const gone = new Error('gone');
  it.each<readonly [what: string, reading: Reading<string>, expected: object]>([
    ['nothing yet', NO_READING, { state: 'waiting' }],
    ['a failure before any answer', failed(NO_READING, gone), { state: 'failing', error: gone }],
    ['an answer', answered(NO_READING, 'a'), { state: 'current', value: 'a' }],
    ['a kept answer at the start', answered(NO_READING, 'a', before), { state: 'restored', value: 'a', asOf: before }],
    [
      'an old answer after a current one',
      answered(answered(NO_READING, 'b'), 'a', before),
      { state: 'stale', value: 'a', asOf: before },
    ],
    [
      'a failure after an answer',
      failed(answered(NO_READING, 'a'), gone),
      { state: 'failing', value: 'a', error: gone },
    ],
    ['an answer after a failure', answered(failed(NO_READING, gone), 'b'), { state: 'current', value: 'b' }],
  ])('%s', (_what, reading, expected) => {
    expect(reading).toMatchObject(expected);
    expect('error' in reading).toBe('error' in expected);
  });
});

describe('pauses between attempts', () => {
  it('grow although each attempt yields a value, and are short again only after lasting success', async () => {
    vi.useFakeTimers();
    try {
      const scope = openScope();
      const pauses: number[] = [];
      let lastsMs = 0;
      const following = follow(
        async function* () {
          yield 1;
          await new Promise((resolve) => setTimeout(resolve, lastsMs));
          throw new Error('gone');
        },
        scope.signal,
        { onValue: () => undefined, onFailure: (_error, ms) => void pauses.push(ms) },
      );
      await vi.advanceTimersByTimeAsync(10_000);
      const grown = pauses.at(-1) ?? 0;
      lastsMs = 61_000;
      await vi.advanceTimersByTimeAsync(200_000);
      scope.end();
      await vi.advanceTimersByTimeAsync(61_000);
      await following;
      expect(grown).toBeGreaterThan(1_000);
      expect(pauses.at(-1)).toBeLessThanOrEqual(500);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('a set of watches', () => {
  it('keeps the last response of the one that fails, reports why, and leaves the others alone', async () => {
    const scope = openScope();
    const changes = new Cell<void>();
    const set = new WatchSet<string>({ changed: () => changes.set(), signal: scope.signal });
    const other = new Cell<string>();
    other.set('one');
    set.set(
      new Map([
        [
          'broken',
          async function* () {
            yield 'last';
            throw new Error('gone');
          },
        ],
        ['fine', (signal: AbortSignal) => other.watch(signal)],
      ]),
    );
    while (set.get('broken')?.state !== 'failing') await changes.changed(changes.revision, never);
    other.set('two');
    while (set.get('fine')?.value !== 'two') await changes.changed(changes.revision, never);
    expect(set.get('broken')).toMatchObject({ value: 'last', error: { message: 'gone' } });
    await set.end();
    expect(set.readings).toEqual([]);
    scope.end();
  });

  it('ends a watch whose key was removed, and keeps the others', async () => {
    const watching = new Set<string>();
    const set = new WatchSet<never>({ changed: () => undefined, signal: never });
    const watch = (key: string) =>
      // oxlint-disable-next-line require-yield -- it is watched for nothing but its end
      async function* (signal: AbortSignal): AsyncGenerator<never> {
        watching.add(key);
        await aborted(signal);
        watching.delete(key);
      };
    const wanted = (...keys: string[]) => new Map(keys.map((key) => [key, watch(key)]));
    set.set(wanted('a', 'b'));
    set.set(wanted('b', 'c'));
    while ([...watching].join() !== 'b,c') await new Promise((resolve) => setImmediate(resolve));
    await set.end();
    expect(watching.size).toBe(0);
  });
});

describe('a set of queries', () => {
  /** A set whose changes the test can wait for. */
  function setOf(atATime = 3) {
    const changes = new Cell<void>();
    const set = new QuerySet<string>({
      changed: () => changes.set(),
      atATime,
      isOverload: ({ message }) => message === '429',
      pauses: { firstMs: 1, maxMs: 4 },
    });
    const until = async (condition: () => boolean): Promise<void> => {
      while (!condition()) await changes.changed(changes.revision, never);
    };
    return { set, until };
  }

  function queries(keys: readonly string[], send: (key: string) => Promise<string>, stamp = 's') {
    return new Map<string, Query<string>>(keys.map((key) => [key, { stamp, send: () => send(key) }]));
  }

  it('queries each once per stamp', async () => {
    const queried: string[] = [];
    const { set, until } = setOf();
    const query = (key: string): Promise<string> => Promise.resolve(queried.push(key)).then(() => key);
    set.run(never);
    set.set(queries(['a', 'b'], query));
    await until(() => set.converged);
    set.set(queries(['a', 'b'], query));
    set.set(new Map([...queries(['a'], query), ...queries(['b'], query, 'other')]));
    await until(() => set.converged);
    expect(queried).toEqual(['a', 'b', 'b']);
    set.rest();
  });

  it('keeps the last response of a failing query, continues with the others, and retries', async () => {
    const { set, until } = setOf();
    let isBroken = false;
    const query = (key: string): Promise<string> =>
      key === 'a' && isBroken ? Promise.reject(new Error('500')) : Promise.resolve(`${key} ${isBroken}`);
    set.run(never);
    set.set(queries(['a', 'b'], query));
    await until(() => set.converged);
    isBroken = true;
    set.set(queries(['a', 'b'], query, 'new'));
    await until(() => set.converged);
    expect(set.get('a')).toMatchObject({ state: 'failing', value: 'a false', error: { message: '500' } });
    expect(set.get('b')).toMatchObject({ state: 'current', value: 'b true' });
    isBroken = false;
    await until(() => set.get('a')?.state === 'current');
    set.rest();
  });

  it('has no more pending than its limit, however many there are', async () => {
    const { set, until } = setOf(4);
    let [active, most] = [0, 0];
    const query = async (key: string): Promise<string> => {
      active += 1;
      most = Math.max(most, active);
      await new Promise((resolve) => setImmediate(resolve));
      active -= 1;
      return key;
    };
    set.run(never);
    set.set(
      queries(
        Array.from({ length: 500 }, (_, at) => `${at}`),
        query,
      ),
    );
    await until(() => set.converged);
    expect([most, set.readings.length]).toEqual([4, 500]);
    set.rest();
  });

  it('converges under a rate limit, which is not reported as a failure', async () => {
    const { set, until } = setOf(4);
    let room = 50;
    const refill = setInterval(() => (room = 50), 20);
    const query = (key: string): Promise<string> =>
      (room -= 1) < 0 ? Promise.reject(new Error('429')) : Promise.resolve(key);
    set.run(never);
    set.set(
      queries(
        Array.from({ length: 300 }, (_, at) => `${at}`),
        query,
      ),
    );
    await until(() => set.converged);
    clearInterval(refill);
    expect(set.readings.every(({ state }) => state === 'current')).toBe(true);
    set.rest();
  });

  it('keeps its readings between runs, and then sends the failed queries', async () => {
    const { set, until } = setOf();
    const scope = openScope();
    const queried: string[] = [];
    const query = (key: string): Promise<string> => {
      queried.push(key);
      return key === 'b' && queried.length < 3 ? Promise.reject(new Error('down')) : Promise.resolve(key);
    };
    set.run(scope.signal);
    set.set(queries(['a', 'b'], query));
    await until(() => set.converged);
    scope.end();
    set.rest();
    expect(set.get('a')?.value).toBe('a');
    set.run(never);
    await until(() => set.get('b')?.state === 'current');
    expect(queried).toEqual(['a', 'b', 'b']);
    set.rest();
  });

  it('uses the newer response when the stamp changes during the query', async () => {
    const { set, until } = setOf();
    let respond: (text: string) => void = () => undefined;
    const first = new Promise<string>((resolve) => (respond = resolve));
    set.run(never);
    set.set(new Map([['a', { stamp: '1', send: () => first }]]));
    set.set(new Map([['a', { stamp: '2', send: () => Promise.resolve('new') }]]));
    respond('old');
    await until(() => set.converged);
    expect(set.get('a')?.value).toBe('new');
    set.rest();
  });
});
