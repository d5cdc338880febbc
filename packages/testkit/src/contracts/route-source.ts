import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from '../runner.ts';
import { formatProblem, snapshotProblems } from '@meshgate/core';
import type { RouteSnapshot, RouteSource } from '@meshgate/core';
import { sourceClaims, watchClaims } from './watching.ts';
import type { SourceHarness } from './watching.ts';

/**
 * Declares a suite that checks the contract of a route source: it yields the whole set as soon as it is known and at
 * each change, loses no change, never modifies what it has yielded, and its versions are equal exactly if the contents
 * are; its routes are valid; it returns when its signal aborts, leaves nothing behind, and can be watched again.
 */
export function describeRouteSource(name: string, harness: SourceHarness<RouteSource>): void {
  describe(`${name}, as a route source,`, () => {
    const claim = sourceClaims<RouteSnapshot>(harness, content);
    watchClaims(claim);

    it('has a single-line name: it is a metric label', async () => {
      const { source, dispose } = await harness.create();
      await dispose();
      expect(source.name).toMatch(/^\P{Cc}+$/u);
    });

    claim(
      'has equal versions for equal contents, and different ones for different contents',
      async (reader, change) => {
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
      },
    );

    claim('yields valid routes', async (reader, change) => {
      const watched = reader();
      const first = await watched.next();
      await change();
      const second = await watched.nextOther(first);
      expect([first, second].flatMap(snapshotProblems).map(formatProblem)).toEqual([]);
    });
  });
}

/**
 * The part of a snapshot that a version covers: the routes, and the warnings, whose changes would otherwise be missed.
 */
function content({ routes, warnings = [] }: RouteSnapshot): unknown {
  return { routes, warnings };
}

function* pairs<Item>(items: readonly Item[]): Generator<readonly [Item, Item], void, void> {
  for (const [index, one] of items.entries()) {
    for (const other of items.slice(index + 1)) yield [one, other];
  }
}
