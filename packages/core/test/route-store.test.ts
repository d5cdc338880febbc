import { afterEach, describe, expect, it } from 'vitest';
import type { Hello } from '../src/pipeline/connection.ts';
import type { ProxyEvent } from '../src/observe.ts';
import type { Route, RouteSnapshot, RouteSource } from '../src/routes/route.ts';
import { RouteStore } from '../src/routes/route-store.ts';

const { signal: never } = new AbortController();
const from = { id: '1', listener: 'l', remote: { host: '::1', port: 1 }, local: { host: '::1', port: 2 }, at: 0 };

function route(name: string, ...serverNames: string[]): Route {
  return { name, serverNames, backends: [] };
}

function hello(serverName?: string): Hello {
  const name = serverName === undefined ? {} : { serverName };
  return { protocol: 'tls', ...name, alpn: [], supportedVersions: [], ech: false, earlyData: false };
}

/** A source that yields what the test sets. */
class Puppet implements RouteSource {
  readonly name: string;
  readonly #words: (RouteSnapshot | Error)[] = [];
  #wake: () => void = () => undefined;

  constructor(name: string) {
    this.name = name;
  }

  emit(word: RouteSnapshot | Error): void {
    this.#words.push(word);
    this.#wake();
  }

  async *watch(signal: AbortSignal): AsyncGenerator<RouteSnapshot> {
    signal.addEventListener('abort', () => this.#wake(), { once: true });
    while (!signal.aborted) {
      const word = this.#words.shift();
      if (word instanceof Error) throw word;
      if (word !== undefined) yield word;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

const stores: RouteStore[] = [];
afterEach(async () => {
  for (const store of stores.splice(0)) await store.stop();
});

function storeOf(...sources: RouteSource[]) {
  const events: ProxyEvent[] = [];
  const waiting: { type: string; resolve: (event: ProxyEvent) => void }[] = [];
  const observer = {
    observe(event: ProxyEvent): void {
      events.push(event);
      const index = waiting.findIndex(({ type }) => type === event.type);
      if (index !== -1) waiting.splice(index, 1)[0]?.resolve(event);
    },
  };
  const store = new RouteStore({ sources, observer, patienceMs: 50 });
  stores.push(store);
  const next = (type: ProxyEvent['type']) => new Promise<ProxyEvent>((resolve) => waiting.push({ type, resolve }));
  return { store, events, next };
}

describe('the route store', () => {
  it('has the routes of a source that yields at once, when it has started', async () => {
    const source = new Puppet('file');
    source.emit({ version: '1', routes: [route('api', 'api.example')] });
    const { store } = storeOf(source);
    await store.start(never);
    expect(store.resolve(hello('api.example'), from)?.name).toBe('api');
    expect(store.resolve(hello('other.example'), from)).toBeUndefined();
    expect(store.resolve(hello(), from)).toBeUndefined();
    expect(store.sources).toMatchObject([{ name: 'file', state: 'current', routes: 1, warnings: [] }]);
  });

  it('replaces the whole table when a source yields again, and names removed routes', async () => {
    const source = new Puppet('file');
    source.emit({ version: '1', routes: [route('a', 'a.example'), route('b', 'b.example')] });
    const { store, next } = storeOf(source);
    await store.start(never);
    const replaced = next('routes.replaced');
    source.emit({ version: '2', routes: [route('b', 'c.example')] });
    expect(await replaced).toMatchObject({ source: 'file', removed: ['a'] });
    expect(['a', 'b', 'c'].map((name) => store.table.lookup(`${name}.example`)?.name)).toEqual([
      undefined,
      undefined,
      'b',
    ]);
  });

  it('does not report a route as removed that another source still has', async () => {
    const [first, second] = [new Puppet('first'), new Puppet('second')];
    first.emit({ version: '1', routes: [route('a', 'a.example')] });
    second.emit({ version: '1', routes: [route('a', 'a.example')] });
    const { store, next } = storeOf(first, second);
    await store.start(never);
    const replaced = next('routes.replaced');
    first.emit({ version: '2', routes: [] });
    expect(await replaced).toMatchObject({ removed: [] });
  });

  it('ignores a snapshot whose version is in use', async () => {
    const source = new Puppet('file');
    source.emit({ version: '1', routes: [route('a', 'a.example')] });
    const { store, events, next } = storeOf(source);
    await store.start(never);
    const replaced = next('routes.replaced');
    source.emit({ version: '1', routes: [] });
    source.emit({ version: '2', routes: [route('b', 'b.example')] });
    await replaced;
    expect(events.filter(({ type }) => type === 'routes.replaced')).toHaveLength(2);
  });

  it('keeps the routes of a source that fails, and reports it', async () => {
    const source = new Puppet('agent');
    source.emit({ version: '1', routes: [route('a', 'a.example')] });
    const { store, next } = storeOf(source);
    await store.start(never);
    const failed = next('source.failed');
    source.emit(new Error('connection refused'));
    expect(await failed).toMatchObject({ source: 'agent', error: { message: 'connection refused' } });
    expect(store.table.lookup('a.example')?.name).toBe('a');
    expect(store.sources).toMatchObject([{ state: 'failing', error: { message: 'connection refused' }, routes: 1 }]);
    source.emit({ version: '2', routes: [route('b', 'b.example')] });
    await next('routes.replaced');
    expect(store.sources).toMatchObject([{ state: 'current', routes: 1 }]);
    expect(store.sources[0]?.error).toBeUndefined();
  });

  it('reports a source as stale with an old snapshot, and as current again after that', async () => {
    const source = new Puppet('file');
    const routes = [route('a', 'a.example')];
    source.emit({ version: '1', routes });
    const { store, next } = storeOf(source);
    await store.start(never);
    const asOf = new Date(0);
    source.emit({ version: '1+', routes, asOf, warnings: ['routes.yaml is broken'] });
    expect(await next('source.updated')).toMatchObject({ asOf });
    await next('routes.replaced');
    expect(store.sources).toMatchObject([{ state: 'stale', lastSuccess: asOf, warnings: ['routes.yaml is broken'] }]);
    source.emit({ version: '1', routes });
    await next('routes.replaced');
    expect(store.sources).toMatchObject([{ state: 'current', warnings: [] }]);
    expect(store.sources[0]?.lastSuccess).not.toEqual(asOf);
  });

  it('does not wait forever for an unresponsive source, and serves the others meanwhile', async () => {
    const [silent, speaking] = [new Puppet('silent'), new Puppet('speaking')];
    speaking.emit({ version: '1', routes: [route('a', 'a.example')] });
    const { store } = storeOf(silent, speaking);
    await store.start(never);
    expect(store.table.lookup('a.example')?.name).toBe('a');
    expect(store.sources.map(({ state }) => state)).toEqual(['waiting', 'current']);
  });

  it('gives up starting when the signal aborts', async () => {
    const { store } = storeOf(new Puppet('silent'));
    const forced = new AbortController();
    const starting = store.start(forced.signal);
    forced.abort(new Error('enough'));
    await expect(starting).rejects.toThrow('enough');
  });

  it('indexes only the newest snapshot of a burst', async () => {
    const source = new Puppet('busy');
    const routes = Array.from({ length: 20_000 }, (_, index) => route(`r${index}`, `r${index}.example`));
    source.emit({ version: 'big', routes });
    for (let version = 0; version < 50; version += 1)
      source.emit({ version: `${version}`, routes: [route(`v${version}`, 'v.example')] });
    const { store, events } = storeOf(source);
    await store.start(never);
    while (store.table.lookup('v.example')?.name !== 'v49') await new Promise((resolve) => setImmediate(resolve));
    expect(events.filter(({ type }) => type === 'routes.replaced').length).toBeLessThan(5);
  });
});

describe('a change of sources', () => {
  it('keeps those that stay, and swaps the others at once when it is committed', async () => {
    const [stays, removed, comes] = [new Puppet('stays'), new Puppet('goes'), new Puppet('comes')];
    stays.emit({ version: '1', routes: [route('api', 'api.example')] });
    removed.emit({ version: '1', routes: [route('old', 'old.example')] });
    comes.emit({ version: '1', routes: [route('new', 'new.example')] });
    const { store, events } = storeOf(stays, removed);
    await store.start(never);
    const change = await store.prepare([comes, stays]);
    expect(store.resolve(hello('new.example'), from)).toBeUndefined();
    expect(store.resolve(hello('old.example'), from)?.name).toBe('old');
    const committed = change.commit();
    expect(store.resolve(hello('new.example'), from)?.name).toBe('new');
    expect(store.resolve(hello('api.example'), from)?.name).toBe('api');
    expect(store.resolve(hello('old.example'), from)).toBeUndefined();
    await committed;
    expect(store.sources.map(({ name }) => name)).toEqual(['comes', 'stays']);
    const previous = { version: '1', routes: [route('old', 'old.example')] };
    expect(events.filter(({ type }) => type === 'source.removed')).toEqual([
      { type: 'source.removed', source: 'goes', removed: ['old'], previous },
    ]);
  });

  it('changes nothing when a new source has no snapshot in time, and names it', async () => {
    const [stays, silent] = [new Puppet('stays'), new Puppet('silent')];
    stays.emit({ version: '1', routes: [route('api', 'api.example')] });
    const { store } = storeOf(stays);
    await store.start(never);
    await expect(store.prepare([silent])).rejects.toThrow('source silent: no snapshot in time');
    expect(store.sources.map(({ name }) => name)).toEqual(['stays']);
    expect(store.resolve(hello('api.example'), from)?.name).toBe('api');
  });

  it('replaces a source by another of the same name without a gap in its routes', async () => {
    const [before, after] = [new Puppet('file'), new Puppet('file')];
    before.emit({ version: '1', routes: [route('api', 'api.example')] });
    after.emit({ version: '2', routes: [route('api', 'api.example', 'www.example')] });
    const { store, events } = storeOf(before);
    await store.start(never);
    const change = await store.prepare([after]);
    const committed = change.commit();
    expect(store.resolve(hello('www.example'), from)?.name).toBe('api');
    await committed;
    expect(events.filter(({ type }) => type === 'source.removed')).toEqual([]);
  });

  it('leaves nothing behind when it is discarded', async () => {
    const [stays, comes] = [new Puppet('stays'), new Puppet('comes')];
    for (const source of [stays, comes])
      source.emit({ version: '1', routes: [route(source.name, `${source.name}.example`)] });
    const { store } = storeOf(stays);
    await store.start(never);
    await (await store.prepare([comes])).discard();
    comes.emit({ version: '2', routes: [] });
    expect(store.sources.map(({ name }) => name)).toEqual(['stays']);
  });
});
