import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import type { Backend, Route, RouteSnapshot, RouteSource } from '@meshgate/core';
import { sourceClaims, watchClaims } from './watching.ts';
import type { SourceHarness } from './watching.ts';

/**
 * Declares a suite that proves that a route source keeps its promises: it yields the whole set as soon as it knows it and at
 * each change, loses no change, never alters what it has yielded, and its versions are equal when what they stand for is; its
 * routes can be used as they are; it returns when its signal aborts, leaves nothing behind, and can be watched again.
 */
export function describeRouteSource(name: string, harness: SourceHarness<RouteSource>): void {
  describe(`${name}, as a route source,`, () => {
    const claim = sourceClaims<RouteSnapshot>(harness, content);
    watchClaims(claim);

    it('has a name that fits on a line: it is a metric label', async () => {
      const { source, dispose } = await harness.create();
      await dispose();
      expect(source.name).toMatch(/^\P{Cc}+$/u);
    });

    claim('gives equal versions to equal contents, and different ones to different', async (reader, change) => {
      const watched = reader();
      const first = await watched.next();
      await change();
      const second = await watched.nextOther(first);
      await change();
      const third = await watched.nextOther(second);
      const snapshots = [first, second, third, await reader().next()];
      for (const [one, other] of pairs(snapshots)) {
        expect(one.version === other.version, `versions '${one.version}' and '${other.version}'`).toBe(
          isDeepStrictEqual(content(one), content(other)),
        );
      }
    });

    claim('yields routes that can be used as they are', async (reader, change) => {
      const watched = reader();
      const first = await watched.next();
      await change();
      const second = await watched.nextOther(first);
      expect([...routeProblems(first.routes), ...routeProblems(second.routes)]).toEqual([]);
    });
  });
}

/** What a version stands for: the routes, and the warnings, which would otherwise not be heard of. */
function content({ routes, warnings = [] }: RouteSnapshot): unknown {
  return { routes, warnings };
}

function* pairs<Item>(items: readonly Item[]): Generator<readonly [Item, Item], void, void> {
  for (const [index, one] of items.entries()) {
    for (const other of items.slice(index + 1)) yield [one, other];
  }
}

function routeProblems(routes: readonly Route[]): readonly string[] {
  const names = routes.map(({ name }) => name);
  return [
    ...names.filter((name, index) => names.indexOf(name) !== index).map((name) => `two routes are named '${name}'`),
    ...routes.flatMap((route) => problemsOf(route).map((problem) => `route '${route.name}': ${problem}`)),
  ];
}

function problemsOf({ name, serverNames, backends, connectTimeoutMs = 1 }: Route): readonly string[] {
  return [
    ...(name === '' ? ['expected a name, found none'] : []),
    ...serverNames.filter((each) => !isServerName(each)).map((each) => `expected a server name, found '${each}'`),
    ...backends.flatMap(backendProblems),
    ...(connectTimeoutMs > 0 ? [] : [`expected a connect timeout above 0 ms, found ${connectTimeoutMs}`]),
  ];
}

function backendProblems({ address: { host, port }, weight }: Backend): readonly string[] {
  const unix = host.startsWith('unix:');
  const usable = unix ? port === 0 : host !== '' && Number.isInteger(port) && port > 0 && port <= 65535;
  return [
    ...(usable ? [] : [`expected an address that can be dialled, found '${host}' with port ${port}`]),
    ...(Number.isInteger(weight) && weight >= 1 ? [] : [`expected an integer weight of 1 or more, found ${weight}`]),
  ];
}

/** Exact, `*.suffix` or `*`; lower case, no trailing dot: what the route table can match. */
function isServerName(name: string): boolean {
  if (name === '*') return true;
  const labels = (name.startsWith('*.') ? name.slice(2) : name).split('.');
  return labels.every((label) => /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?$/.test(label));
}
