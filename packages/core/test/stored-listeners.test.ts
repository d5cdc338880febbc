// Listeners stored for the next start, while the store fails, loses them or is slow.
import { describe, expect, it } from 'vitest';
import { lastKnownGood, lastKnownListeners } from '../src/watch/stored-snapshots.ts';
import type { ListenerStore } from '../src/watch/stored-snapshots.ts';
import type { ListenAddress, RouteSnapshot } from '../src/routes/route.ts';

const EDGE: ListenAddress = { name: 'edge', endpoint: { host: '::', port: 443 } };
const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));

/** A source that lists once and then stays silent. */
const source = {
  name: 'agent',
  async *watch(signal: AbortSignal) {
    yield [EDGE];
    await aborted(signal);
  },
};

/** Reads a source until `isEnough`. */
async function follow(store: ListenerStore, isEnough: () => boolean): Promise<void> {
  const stopper = new AbortController();
  const values = lastKnownListeners(source, store, { keepAgainMs: 1 }).watch(stopper.signal)[Symbol.asyncIterator]();
  expect(await values.next()).toEqual({ done: false, value: [EDGE] });
  const next = values.next();
  await expect.poll(isEnough).toBe(true);
  stopper.abort();
  expect((await next).done).toBe(true);
}

describe('listeners whose list', () => {
  it('cannot be stored are stored as soon as that works, and nothing is said of it', async () => {
    let saves = 0;
    const save = (): Promise<void> => ((saves += 1) < 3 ? Promise.reject(new Error('ENOSPC')) : Promise.resolve());
    await follow(
      { load: () => Promise.resolve(undefined), save, isKept: () => Promise.resolve(true) },
      () => saves === 3,
    );
    expect(saves).toBe(3);
  });

  it('was stored, and is there no longer, is stored again', async () => {
    let [saves, looks] = [0, 0];
    const store = {
      load: () => Promise.resolve(undefined),
      save: () => Promise.resolve(void (saves += 1)),
      isKept: () => Promise.resolve((looks += 1) !== 2),
    };
    await follow(store, () => looks > 3);
    expect(saves).toBe(2);
  });

  it('was stored is stored once in a store that cannot tell', async () => {
    let saves = 0;
    let isQuiet = false;
    setTimeout(() => (isQuiet = true), 20);
    await follow(
      { load: () => Promise.resolve(undefined), save: () => Promise.resolve(void (saves += 1)) },
      () => isQuiet,
    );
    expect(saves).toBe(1);
  });
});

describe('a snapshot', () => {
  const snapshot = (over: object): RouteSnapshot => ({ version: '1', routes: [], ...over });

  it.each<[what: string, over: object]>([
    [
      'cannot be read',
      {
        get routes(): never {
          throw new Error('a getter threw');
        },
      },
    ],
    ['is malformed', { routes: [null] }],
    ['is from before', { asOf: new Date(0) }],
  ])('that %s is passed on, and not stored', async (_what, over) => {
    const saved: unknown[] = [];
    const one = snapshot({});
    Object.defineProperties(one, Object.getOwnPropertyDescriptors(over));
    const watched = lastKnownGood(
      {
        name: 's',
        watch: async function* () {
          yield one;
        },
      },
      { load: () => Promise.resolve(undefined), save: (_source, of) => Promise.resolve(void saved.push(of)) },
    );
    const values = watched.watch(new AbortController().signal)[Symbol.asyncIterator]();
    expect((await values.next()).value).toBe(one);
    expect((await values.next()).done).toBe(true);
    expect(saved).toEqual([]);
  });
});
