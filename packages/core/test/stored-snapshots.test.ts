import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { Cell } from '../src/watch/cell.ts';
import { lastKnownGood, lastKnownListeners } from '../src/watch/stored-snapshots.ts';
import type { SnapshotStore } from '../src/watch/stored-snapshots.ts';
import type { ListenAddress, RouteSnapshot, RouteSource } from '../src/routes/route.ts';

const fresh: RouteSnapshot = {
  version: 'fresh',
  routes: [{ name: 'new', serverNames: ['new.example'], backends: [] }],
};
const old: RouteSnapshot = { version: 'old', routes: [{ name: 'old', serverNames: ['old.example'], backends: [] }] };
const savedAt = new Date('2026-01-02T03:04:05Z');

function storeOf(
  kept: RouteSnapshot | Error | undefined,
  onSave: (snapshot: RouteSnapshot) => Promise<void>,
): SnapshotStore {
  const load = () =>
    kept instanceof Error ? Promise.reject(kept) : Promise.resolve(kept && { snapshot: kept, savedAt });
  return { load, save: (_source, snapshot) => onSave(snapshot) };
}

function memory(kept?: RouteSnapshot | Error) {
  const saved: string[] = [];
  return { saved, snapshots: storeOf(kept, (snapshot) => Promise.resolve(void saved.push(snapshot.version))) };
}

function source(first: Promise<RouteSnapshot>): RouteSource {
  return {
    name: 'agent',
    async *watch(signal) {
      const stopped = new Promise<undefined>((resolve) => signal.addEventListener('abort', () => resolve(undefined)));
      const word = await Promise.race([first, stopped]);
      if (word !== undefined) yield word;
      if (!signal.aborted)
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    },
  };
}

/** The first `count` snapshots, or the error that was thrown before. */
async function heartbeat(from: RouteSource, count: number): Promise<RouteSnapshot[]> {
  const stopper = new AbortController();
  const snapshots: RouteSnapshot[] = [];
  for await (const snapshot of from.watch(stopper.signal)) {
    snapshots.push(snapshot);
    if (snapshots.length === count) stopper.abort();
  }
  return snapshots;
}

describe('a source with a store', () => {
  it('that responds is used unchanged, and stored', async () => {
    const { snapshots: storage, saved } = memory(old);
    expect(await heartbeat(lastKnownGood(source(Promise.resolve(fresh)), storage), 1)).toEqual([fresh]);
    expect(saved).toEqual(['fresh']);
  });

  it('that does not respond at first is replaced by the stored snapshot, until it yields', async () => {
    const { snapshots: storage } = memory(old);
    let respond: (snapshot: RouteSnapshot) => void = () => undefined;
    const first = new Promise<RouteSnapshot>((resolve) => (respond = resolve));
    const remembered = lastKnownGood(source(first), storage, { patienceMs: 1 });
    const words = remembered.watch(new AbortController().signal)[Symbol.asyncIterator]();
    expect((await words.next()).value).toMatchObject({
      routes: old.routes,
      asOf: savedAt,
      warnings: ['no response yet, using routes stored on 2026-01-02T03:04:05.000Z'],
    });
    respond(fresh);
    expect((await words.next()).value).toEqual(fresh);
  });

  it('that fails at once is replaced by the stored snapshot, and its failure is reported after that', async () => {
    const { snapshots: storage } = memory(old);
    const failing = source(Promise.reject(new Error('connection refused')));
    const words = lastKnownGood(failing, storage).watch(new AbortController().signal)[Symbol.asyncIterator]();
    expect((await words.next()).value).toMatchObject({ routes: old.routes });
    await expect(words.next()).rejects.toThrow('connection refused');
  });

  it('that yields a stale snapshot is stored with the time at which that was current', async () => {
    const { snapshots: storage, saved } = memory(old);
    const stale = { ...fresh, version: 'stale', asOf: savedAt };
    expect(await heartbeat(lastKnownGood(source(Promise.resolve(stale)), storage), 1)).toEqual([stale]);
    expect(saved).toEqual([]);
  });

  it('that is quiet for long uses no more memory with each check of the store', async () => {
    const { snapshots: storage } = memory();
    let looks = 0;
    let end: (result: IteratorResult<RouteSnapshot>) => void = () => undefined;
    const quiet = new Promise<IteratorResult<RouteSnapshot>>((resolve) => (end = resolve));
    const reactions = vi.spyOn(quiet, 'then');
    const values = [Promise.resolve({ done: false, value: fresh } as const), quiet];
    const silent: RouteSource = {
      name: 'agent',
      watch: () => ({ [Symbol.asyncIterator]: () => ({ next: () => values.shift() ?? quiet }) }),
    };
    let lookedOften: () => void = () => undefined;
    const enough = new Promise<void>((resolve) => (lookedOften = resolve));
    const isKept = (): Promise<boolean> => {
      looks += 1;
      if (looks === 20) lookedOften();
      return Promise.resolve(true);
    };
    const words = lastKnownGood(silent, { ...storage, isKept }, { keepAgainMs: 1 }).watch(new AbortController().signal);
    const reader = words[Symbol.asyncIterator]();
    await reader.next();
    const last = reader.next();
    await enough;
    end({ done: true, value: undefined });
    await last;
    expect(reactions.mock.calls.length).toBeLessThan(5);
  });

  it('that fails repeatedly is replaced by the stored snapshot once, so that its pauses grow', async () => {
    const { snapshots: storage } = memory(old);
    const remembered = lastKnownGood(source(Promise.reject(new Error('connection refused'))), storage);
    const again = (): AsyncIterator<RouteSnapshot> =>
      remembered.watch(new AbortController().signal)[Symbol.asyncIterator]();
    const first = again();
    expect((await first.next()).value).toMatchObject({ routes: old.routes });
    await expect(first.next()).rejects.toThrow('connection refused');
    await expect(again().next()).rejects.toThrow('connection refused');
  });

  it('that repeats itself is stored once', async () => {
    const { snapshots: storage, saved } = memory();
    const repeating: RouteSource = {
      name: 'agent',
      async *watch() {
        yield fresh;
        yield fresh;
        yield old;
      },
    };
    await heartbeat(lastKnownGood(repeating, storage), 3);
    expect(saved).toEqual(['fresh', 'old']);
  });

  it.each([null, { version: 'bad', routes: [{ name: 'x', backends: [] }] }])(
    'that yields nonsense continues, without a lasting effect: %j',
    async (nonsense) => {
      const { snapshots: storage, saved } = memory();
      const mixed = {
        name: 'plugin',
        async *watch() {
          yield nonsense as unknown as RouteSnapshot;
          yield fresh;
        },
      };
      expect(await heartbeat(lastKnownGood(mixed, storage), 2)).toEqual([nonsense, fresh]);
      expect(saved).toEqual(['fresh']);
    },
  );

  it('that fails is not asked to return, and its failure does not wait for that', async () => {
    const next = (): Promise<never> => Promise.reject(new Error('connection refused'));
    let returns = 0;
    const hangs = (): Promise<never> => new Promise(() => (returns += 1));
    const failing: RouteSource = {
      name: 'agent',
      watch: () => ({ [Symbol.asyncIterator]: () => ({ next, return: hangs }) }),
    };
    await expect(heartbeat(lastKnownGood(failing, memory().snapshots), 1)).rejects.toThrow('connection refused');
    expect(returns).toBe(0);
  });

  it.each<[what: string, leave: (() => Promise<never>) | undefined]>([
    ['never returns', () => new Promise(() => undefined)],
    ['rejects when it is to return', () => Promise.reject(new Error('will not go'))],
    ['cannot be told to return', undefined],
  ])('that %s is left within its time', async (_what, leave) => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const next = () => Promise.resolve({ value: fresh, done: false });
    const endless: RouteSource = {
      name: 'agent',
      watch: () => ({
        [Symbol.asyncIterator]: () => ({ next, ...(leave !== undefined && { return: leave }) }),
      }),
    };
    const words = lastKnownGood(endless, memory().snapshots).watch(new AbortController().signal);
    const values = words[Symbol.asyncIterator]();
    expect(await values.next()).toEqual({ value: fresh, done: false });
    const stopped = values.return?.(undefined);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await stopped).toEqual({ value: undefined, done: true });
  });

  it('that gives no promise, or nothing that can be iterated over, fails as one without a memory does', async () => {
    let reads = 0;
    const next = () => ({ value: fresh, done: (reads += 1) > 1 });
    const watches = [
      (): unknown => ({ [Symbol.asyncIterator]: () => ({ next }) }),
      (): unknown => 7,
    ] as readonly RouteSource['watch'][];
    const [plain, none] = watches.map((watch) => lastKnownGood({ name: 'agent', watch }, memory().snapshots));
    expect(await heartbeat(plain as RouteSource, 1)).toEqual([fresh]);
    await expect(heartbeat(none as RouteSource, 1)).rejects.toThrow(TypeError);
  });

  it('that changes the one snapshot that it yields again and again has each change stored', async () => {
    const { snapshots: storage, saved } = memory();
    const one = { ...fresh };
    const changing: RouteSource = {
      name: 'agent',
      async *watch() {
        for (const version of ['1', '2', '2', '3']) yield Object.assign(one, { version });
      },
    };
    await heartbeat(lastKnownGood(changing, storage), 4);
    expect(saved).toEqual(['1', '2', '3']);
  });

  it('that fails and has no stored snapshot just fails', async () => {
    const { snapshots: storage } = memory();
    await expect(heartbeat(lastKnownGood(source(Promise.reject(new Error('refused'))), storage), 1)).rejects.toThrow(
      'refused',
    );
  });

  it('reports an unreadable store once, and is then waited for', async () => {
    const { snapshots: storage } = memory(new Error('agent.json: unexpected end'));
    let respond: (snapshot: RouteSnapshot) => void = () => undefined;
    const first = new Promise<RouteSnapshot>((resolve) => (respond = resolve));
    const slow = lastKnownGood(source(first), storage, { patienceMs: 1 });
    await expect(heartbeat(slow, 1)).rejects.toThrow(
      'no response yet, and the stored routes cannot be read: agent.json: unexpected end',
    );
    const hearing = heartbeat(slow, 1);
    respond(fresh);
    expect(await hearing).toEqual([fresh]);
  });

  it('reads the store again while it yields nothing, and is not restarted when that fails again', async () => {
    let reads = 0;
    const load = () => {
      reads += 1;
      return reads < 4 ? Promise.reject(new Error('EMFILE')) : Promise.resolve({ snapshot: old, savedAt });
    };
    let watches = 0;
    const silent: RouteSource = {
      name: 'agent',
      watch(signal) {
        watches += 1;
        return source(new Promise(() => undefined)).watch(signal);
      },
    };
    const store = { load, save: () => Promise.resolve() };
    const remembered = lastKnownGood(silent, store, { patienceMs: 1, keepAgainMs: 1 });
    await expect(heartbeat(remembered, 1)).rejects.toThrow('EMFILE');
    expect(await heartbeat(remembered, 1)).toMatchObject([{ routes: old.routes, asOf: savedAt }]);
    expect([reads, watches]).toEqual([4, 2]);
  });

  it('still serves when nothing can be stored, with a warning', async () => {
    const storage = storeOf(undefined, () => Promise.reject(new Error('disk full')));
    const [first, second] = await heartbeat(lastKnownGood(source(Promise.resolve(fresh)), storage), 2);
    expect(first).toEqual(fresh);
    expect(second).toMatchObject({
      routes: fresh.routes,
      warnings: ['routes cannot be stored for the next start: disk full'],
    });
  });
});

describe('a snapshot that cannot be stored', () => {
  function fullDisk() {
    const disk = { isFull: true, isThere: true, saves: 0 };
    const save = (): Promise<void> => {
      disk.saves += 1;
      if (disk.isFull) return Promise.reject(Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' }));
      disk.isThere = true;
      return Promise.resolve();
    };
    const load = () => Promise.resolve(undefined);
    return { disk, store: { load, save, isKept: () => Promise.resolve(disk.isThere) } };
  }

  const WARNING = 'routes cannot be stored for the next start: ENOSPC: no space left';

  it('is stored as soon as possible, and the warning clears by itself', async () => {
    const { disk, store } = fullDisk();
    const watched = lastKnownGood(source(Promise.resolve(fresh)), store, { keepAgainMs: 1 });
    const words = watched.watch(new AbortController().signal)[Symbol.asyncIterator]();
    expect((await words.next()).value).toEqual(fresh);
    expect((await words.next()).value).toEqual({
      ...fresh,
      version: 'fresh (not stored: ENOSPC)',
      warnings: [WARNING],
    });
    disk.isFull = false;
    expect((await words.next()).value).toEqual(fresh);
  });

  it('keeps its warning when the source repeats itself', async () => {
    const { store } = fullDisk();
    const repeating: RouteSource = {
      name: 'agent',
      async *watch() {
        yield fresh;
        yield fresh;
      },
    };
    const all = await heartbeat(lastKnownGood(repeating, store), 3);
    expect(all.map(({ warnings = [] }) => warnings)).toEqual([[], [WARNING], [WARNING]]);
  });

  it('whose folder has been deleted is stored again', async () => {
    const { disk, store } = fullDisk();
    disk.isFull = false;
    let respond: (snapshot: RouteSnapshot) => void = () => undefined;
    const first = new Promise<RouteSnapshot>((resolve) => (respond = resolve));
    const watched = lastKnownGood(source(first), store, { keepAgainMs: 1 });
    const words = watched.watch(new AbortController().signal)[Symbol.asyncIterator]();
    respond(fresh);
    await words.next();
    const next = words.next();
    await expect.poll(() => disk.saves).toBe(1);
    disk.isThere = false;
    disk.isFull = true;
    expect((await next).value).toMatchObject({ warnings: [WARNING] });
  });
});

describe('listeners with a store', () => {
  it('are read again when the stored ones could not be read, without a report', async () => {
    let reads = 0;
    const load = () => {
      reads += 1;
      return reads < 3 ? Promise.reject(new Error('EMFILE')) : Promise.resolve(kept);
    };
    const silent = {
      name: 'agent',
      watch: (signal: AbortSignal) => new Cell<readonly ListenAddress[]>().watch(signal),
    };
    const store = { load, save: () => Promise.resolve() };
    const stopper = new AbortController();
    const times = { patienceMs: 1, keepAgainMs: 1 };
    const words = lastKnownListeners(silent, store, times).watch(stopper.signal)[Symbol.asyncIterator]();
    expect((await words.next()).value).toBe(kept);
    stopper.abort();
  });

  const kept: readonly ListenAddress[] = [{ name: 'default', endpoint: { host: '127.0.0.1', port: 8443 } }];

  it('are the stored ones as long as their source fails, and are stored again when it yields', async () => {
    const saved: unknown[] = [];
    const storage = {
      load: () => Promise.resolve(kept),
      save: (_source: string, addresses: readonly ListenAddress[]) => Promise.resolve(void saved.push(addresses)),
    };
    const failing = { name: 'agent', watch: () => rejecting(new Error('refused')) };
    const words = lastKnownListeners(failing, storage).watch(new AbortController().signal)[Symbol.asyncIterator]();
    expect((await words.next()).value).toBe(kept);
    await expect(words.next()).rejects.toThrow('refused');

    const [reported] = [[{ name: 'lan', endpoint: { host: '10.0.0.1', port: 443 } }]];
    const speaking = {
      name: 'agent',
      async *watch() {
        yield reported;
      },
    };
    const heartbeatNow: unknown[] = [];
    for await (const addresses of lastKnownListeners(speaking, storage).watch(new AbortController().signal))
      heartbeatNow.push(addresses);
    expect(heartbeatNow).toEqual([reported]);
    expect(saved).toEqual([reported]);
  });

  it('are waited for when the store cannot be read', async () => {
    const storage = { load: () => Promise.reject(new Error('damaged')), save: () => Promise.resolve() };
    const failing = { name: 'agent', watch: () => rejecting(new Error('refused')) };
    const words = lastKnownListeners(failing, storage).watch(new AbortController().signal)[Symbol.asyncIterator]();
    await expect(words.next()).rejects.toThrow('refused');
  });
});

// oxlint-disable-next-line require-yield -- it fails before it can
async function* rejecting(error: Error): AsyncGenerator<never> {
  throw error;
}
