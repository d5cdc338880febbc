import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Route } from '../src/routes/route.ts';
import { indexRoutes, RouteTable } from '../src/routes/route-table.ts';

function route(name: string, ...serverNames: string[]): Route {
  return { name, serverNames, backends: [] };
}

function table(...sources: Route[][]): RouteTable {
  return new RouteTable(sources.map((routes, index) => indexRoutes(`source-${index}`, { version: '1', routes })));
}

describe('a server name', () => {
  const routes = table([
    route('any', '*'),
    route('apps', '*.apps.example.com'),
    route('example', '*.example.com'),
    route('api', 'api.example.com', 'api.example.org'),
  ]);

  it.each([
    ['api.example.com', 'api', 'the exact name beats every suffix'],
    ['api.example.org', 'api', 'a route may have several names'],
    ['www.example.com', 'example', 'a suffix takes one label'],
    ['a.b.example.com', 'example', 'a suffix takes several labels'],
    ['x.apps.example.com', 'apps', 'the longer suffix beats the shorter'],
    ['apps.example.com', 'example', 'a suffix does not take the suffix itself'],
    ['example.com', 'any', 'nor does it here'],
    ['notexample.com', 'any', 'a suffix begins at a label'],
    ['localhost', 'any', '* takes any name'],
  ])('%s matches %s: %s', (serverName, name) => {
    expect(routes.lookup(serverName)?.name).toBe(name);
    expect(routes.matches(serverName)[0]?.route.name).toBe(name);
  });

  it('without a route matches nothing', () => {
    expect(table([route('api', 'api.example.com')]).lookup('www.example.com')).toBeUndefined();
    expect(table().lookup('www.example.com')).toBeUndefined();
  });

  it.each([
    ['has more dots than any name', '.'.repeat(65_536)],
    ['has a mebibyte of labels', 'a.'.repeat(524_288)],
  ])('that %s is one that only * takes, and takes no longer to look up than others', (_what, serverName) => {
    const begin = performance.now();
    expect(routes.lookup(serverName)?.name).toBe('any');
    expect(routes.matches(serverName).map(({ pattern }) => pattern)).toEqual(['*']);
    // Hashing each of its suffixes would take seconds.
    expect(performance.now() - begin).toBeLessThan(250);
  });

  it('claimed by two sources leads to that of the first', () => {
    const both = table(
      [route('first', 'a.example', '*.b.example')],
      [route('second', 'a.example', '*.b.example', 'x.b.example')],
    );
    expect(both.lookup('a.example')?.name).toBe('first');
    expect(both.lookup('y.b.example')?.name).toBe('first');
    expect(both.lookup('x.b.example')?.name).toBe('second');
  });

  it('repeated in one source belongs to the first route', () => {
    expect(table([route('first', 'a.example'), route('second', 'a.example')]).lookup('a.example')?.name).toBe('first');
  });

  it('is explained by every matching route, the best one first', () => {
    const { length } = routes.matches('x.apps.example.com');
    expect(length).toBe(3);
    expect(routes.matches('x.apps.example.com').map(({ kind, pattern, source }) => [kind, pattern, source])).toEqual([
      ['suffix', '*.apps.example.com', 'source-0'],
      ['suffix', '*.example.com', 'source-0'],
      ['any', '*', 'source-0'],
    ]);
  });
});

describe('a route that names listeners', () => {
  const routes = table(
    [
      { ...route('general', 'a.example', '*.b.example', '*'), fallback: true },
      { ...route('inner', 'a.example', '*.b.example'), listeners: ['internal'], fallback: true },
      { ...route('both', 'only.example'), listeners: ['internal', 'edge'] },
    ],
    [{ ...route('second', 'a.example', 'x.b.example'), listeners: ['internal', 'other'] }],
  );

  it.each([
    ['a.example', 'internal', 'inner', 'it goes before one that holds on all'],
    ['a.example', 'edge', 'general', 'on other listeners it takes nothing'],
    ['a.example', undefined, 'general', 'nor without a listener'],
    ['a.example', 'other', 'general', 'a source listed first goes before it'],
    ['x.b.example', 'internal', 'second', 'an exact name still beats a suffix'],
    ['y.b.example', 'internal', 'inner', 'it may be found by a suffix'],
    ['only.example', 'edge', 'both', 'it may name several'],
    ['only.example', 'other', 'general', 'any name is found on all'],
  ])('matches %s on %s by %s: %s', (serverName, listener, name, _why) => {
    expect(routes.lookup(serverName, listener)?.name).toBe(name);
    expect(routes.matches(serverName, listener)[0]?.route.name).toBe(name);
  });

  it('may be the fallback of its listeners', () => {
    expect(routes.fallback('internal')?.name).toBe('inner');
    expect(routes.fallback('edge')?.name).toBe('general');
    expect(routes.fallback()?.name).toBe('general');
    expect(table([route('api', 'api.example.com', '*')]).fallback('edge')).toBeUndefined();
  });

  it('is listed by the table', () => {
    expect(routes.listeners).toEqual(['internal', 'edge', 'other']);
    expect(routes.size).toBe(4);
  });
});

it('lookup and explanation always agree', () => {
  const label = fc.constantFrom('a', 'b', 'c');
  const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'));
  const pattern = fc.oneof(
    name,
    name.map((suffix) => `*.${suffix}`),
    fc.constant('*'),
  );
  const source = fc.array(
    fc.array(pattern, { maxLength: 3 }).map((names) => route(names.join(' '), ...names)),
    { maxLength: 5 },
  );
  fc.assert(
    fc.property(fc.array(source, { maxLength: 3 }), name, (sources, serverName) => {
      const routes = table(...sources);
      expect(routes.lookup(serverName)).toBe(routes.matches(serverName)[0]?.route);
    }),
  );
});
