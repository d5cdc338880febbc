import { describe, expect, it } from 'vitest';
import type { Route } from '../src/index.ts';
import { staticSource } from '../src/index.ts';

function route(name: string): Route {
  return { name, serverNames: [`${name}.example.com`], backends: [] };
}

// Claims about every source are in contracts.test.ts.
describe('a static source', () => {
  it('skips what was replaced before it was read', async () => {
    const source = staticSource('static');
    const values = source.watch(new AbortController().signal)[Symbol.asyncIterator]();
    await values.next();
    source.set([route('a')]);
    source.set([route('b')]);
    expect((await values.next()).value).toMatchObject({ routes: [{ name: 'b' }] });
  });

  it('does not yield equal routes again', async () => {
    const source = staticSource('static', [route('a')]);
    const abort = new AbortController();
    const values = source.watch(abort.signal)[Symbol.asyncIterator]();
    await values.next();
    const next = values.next();
    source.set([route('a')]);
    source.set([route('a')], ['something is wrong']);
    expect((await next).value).toMatchObject({ routes: [{ name: 'a' }], warnings: ['something is wrong'] });
  });

  it('keeps its own copy of the routes', async () => {
    const routes = [route('a')];
    const source = staticSource('static', routes);
    routes.push(route('b'));
    const { value } = await source.watch(new AbortController().signal)[Symbol.asyncIterator]().next();
    expect(value).toMatchObject({ routes: [{ name: 'a' }] });
  });

  it('fails the running watches, and serves the next one', async () => {
    const source = staticSource('static', [route('a')]);
    const failing = source.watch(new AbortController().signal)[Symbol.asyncIterator]();
    await failing.next();
    const failure = failing.next();
    source.fail(new Error('the agent is gone'));
    await expect(failure).rejects.toThrow('the agent is gone');
    const { value } = await source.watch(new AbortController().signal)[Symbol.asyncIterator]().next();
    expect(value).toMatchObject({ routes: [{ name: 'a' }] });
  });
});
