// The watch kernel when one of its parts fails, is removed or is cancelled.
import { describe, expect, it } from 'vitest';
import type { ProxyEvent } from '../src/observe.ts';
import { Cell } from '../src/watch/cell.ts';
import { follow } from '../src/watch/follow.ts';
import { QuerySet } from '../src/watch/query-set.ts';
import type { Query } from '../src/watch/query-set.ts';
import { aborted, openScope, settlesInTime, unlessAborted } from '../src/watch/scope.ts';
import { SourceFollower } from '../src/watch/source-follower.ts';
import { Watched, WatchSet } from '../src/watch/watch-set.ts';

const { signal: never } = new AbortController();
const pending = (): Promise<never> => new Promise(() => undefined);
const soon = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('work under a signal', () => {
  it('gives its result, or its own error', async () => {
    expect(await unlessAborted(Promise.resolve(5), never)).toBe(5);
    await expect(unlessAborted(Promise.reject(new Error('no')), never)).rejects.toThrow('no');
  });

  it('rejects with the reason of the signal when that aborts first', async () => {
    const scope = openScope();
    const work = unlessAborted(pending(), scope.signal);
    scope.end(new Error('enough'));
    await expect(work).rejects.toThrow('enough');
    await expect(unlessAborted(Promise.resolve(5), AbortSignal.abort(new Error('before')))).rejects.toThrow('before');
  });

  it.each<[what: string, work: Promise<unknown>, ms: number | undefined, signal: AbortSignal, expected: boolean]>([
    ['in time', Promise.resolve(), 60_000, never, true],
    ['late', pending(), 1, never, false],
    ['late although the signal has aborted', pending(), 60_000, AbortSignal.abort(), false],
    [
      'in the time that an abort leaves',
      new Promise((resolve) => setTimeout(resolve, 2)),
      undefined,
      AbortSignal.abort(),
      true,
    ],
  ])('settles %s', async (_what, work, ms, signal, expected) => {
    expect(await settlesInTime(work, ms, { signal, ms: expected ? 60_000 : 1 })).toBe(expected);
  });
});

describe('following a sequence', () => {
  it('continues although whoever is told of a failure throws', async () => {
    const scope = openScope();
    let starts = 0;
    const end = follow(
      // oxlint-disable-next-line require-yield -- it fails before it has something to yield
      async function* () {
        starts += 1;
        if (starts === 3) scope.end();
        throw new Error('no');
      },
      scope.signal,
      {
        onValue: () => undefined,
        onFailure: () => {
          throw new Error('nobody listens');
        },
        pauses: { firstMs: 1, maxMs: 1 },
      },
    );
    expect([await end, starts]).toEqual(['ended', 3]);
  });

  it('restarts a sequence whose value cannot be used, after it has returned', async () => {
    const scope = openScope();
    const failures: string[] = [];
    let returned = 0;
    const end = follow(
      async function* () {
        try {
          yield 1;
        } finally {
          returned += 1;
        }
      },
      scope.signal,
      {
        onValue: () => {
          throw new Error('cannot be used');
        },
        onFailure: ({ message }) => (failures.push(message), failures.length === 2 && scope.end()),
        pauses: { firstMs: 1, maxMs: 1 },
      },
    );
    await end;
    expect([failures, returned]).toEqual([['cannot be used', 'cannot be used'], 2]);
  });
});

describe('a watch', () => {
  it('begins with what an earlier one knew, until it has something newer', async () => {
    const cell = new Cell<number>();
    const changes = new Cell<void>();
    const watched = new Watched((signal) => cell.watch(signal), { changed: () => changes.set(), signal: never }, 7);
    expect(watched.reading).toMatchObject({ state: 'waiting', value: 7 });
    cell.set(8);
    await changes.changed(0, never);
    expect(watched.reading).toMatchObject({ state: 'current', value: 8 });
    await watched.end();
  });

  it('pauses as it was told, and all of a set are read in the order in which they were wanted', async () => {
    let starts = 0;
    const set = new WatchSet<number>({ changed: () => undefined, signal: never, pauses: { firstMs: 1, maxMs: 1 } });
    set.set(
      new Map([
        [
          'b',
          // oxlint-disable-next-line require-yield -- it fails before it has something to yield
          async function* () {
            starts += 1;
            throw new Error('no');
          },
        ],
        ['a', (signal: AbortSignal) => new Cell<number>().watch(signal)],
      ]),
    );
    await expect.poll(() => starts).toBeGreaterThan(3);
    expect(set.readings.map(({ state }) => state)).toEqual(['failing', 'waiting']);
    expect([set.get('b')?.error?.message, set.get('c')]).toEqual(['no', undefined]);
    await set.end();
    expect(set.readings).toEqual([]);
  });
});

describe('a set of queries', () => {
  function setOf() {
    let changes = 0;
    const set = new QuerySet<string>({
      changed: () => (changes += 1),
      atATime: 1,
      isOverload: ({ message }) => message === '429',
      pauses: { firstMs: 60_000, maxMs: 60_000 },
    });
    return { set, changes: () => changes };
  }
  const wanted = (...entries: readonly (readonly [key: string, send: Query<string>['send']])[]) =>
    new Map(entries.map(([key, send]) => [key, { stamp: key, send }] as const));

  it('forgets the key that is not wanted any more, what it waits for to be repeated, and what it answers later', async () => {
    const { set, changes } = setOf();
    let respond: (value: string) => void = () => undefined;
    set.run(never);
    set.set(wanted(['fails', () => Promise.reject(new Error('500'))]));
    await soon();
    set.set(
      wanted(['slow', () => new Promise((resolve) => (respond = resolve))], ['next', () => Promise.resolve('2')]),
    );
    expect([set.get('fails'), set.get('slow')?.state]).toEqual([undefined, 'waiting']);
    set.set(wanted(['next', () => Promise.resolve('2')]));
    const before = changes();
    respond('1');
    await expect.poll(() => set.converged).toBe(true);
    expect([set.get('slow'), set.get('next')?.value, changes() - before]).toEqual([undefined, '2', 1]);
    set.rest();
  });

  it('asks again in the next run what failed because a run has ended, and says nothing of it', async () => {
    const { set, changes } = setOf();
    const first = openScope();
    set.run(first.signal);
    set.set(wanted(['a', (signal) => aborted(signal).then(() => Promise.reject(new Error('aborted')))]));
    first.end();
    await soon();
    expect([set.get('a')?.state, changes(), set.converged]).toEqual(['waiting', 0, false]);
    set.rest();
    set.set(wanted(['a', () => Promise.resolve('1')]));
    set.run(never);
    await expect.poll(() => set.get('a')?.value).toBe('1');
    set.rest();
  });

  it('pauses once for all that are turned away at the same time', async () => {
    let sent = 0;
    const changes = new Cell<void>();
    const set = new QuerySet<string>({ changed: () => changes.set(), atATime: 3, isOverload: () => true });
    set.run(never);
    set.set(wanted(...['a', 'b', 'c'].map((key) => [key, () => Promise.reject(new Error(`${(sent += 1)}`))] as const)));
    await soon();
    expect([sent, set.readings.map(({ state }) => state)]).toEqual([3, ['waiting', 'waiting', 'waiting']]);
    await expect.poll(() => sent).toBe(6);
    set.rest();
  });
});

describe('a source whose snapshot has very many problems', () => {
  it('is refused with the first ten, and how many more there are', async () => {
    const events: ProxyEvent[] = [];
    const yielded = new Cell<never>();
    yielded.set({ version: '1', routes: Array.from({ length: 30 }, () => null) } as never);
    const source = { name: 's', watch: (signal: AbortSignal) => yielded.watch(signal) };
    const scope = openScope();
    const follower = new SourceFollower(source, { observe: (event) => void events.push(event) }, () => undefined);
    const following = follower.follow(scope.signal);
    await follower.firstSnapshot;
    const { error } = follower.status;
    expect(error?.message).toContain('routes.9: expected a route, found null; and 20 more problems');
    expect(events).toMatchObject([{ type: 'source.refused', source: 's' }]);
    scope.end();
    await following;
  });
});
