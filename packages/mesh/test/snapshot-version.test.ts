import type { Route } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { SnapshotVersions } from '../src/snapshot-version.ts';

function routes(count: number): readonly Route[] {
  const backends = [{ address: { host: '10.0.0.1', port: 443 }, weight: 1, healthy: true }];
  return Array.from({ length: count }, (_, at) => ({ name: `r${at}`, serverNames: [`r${at}.example.com`], backends }));
}

function computed(steps: Generator<void, string>): { readonly version: string; readonly steps: number } {
  for (let count = 1; ; count += 1) {
    const step = steps.next();
    if (step.done === true) return { version: step.value, steps: count };
  }
}

describe('the version of a snapshot', () => {
  it('is computed in steps in proportion to its routes, so that other work gets its turn', () => {
    const [few, many] = [100, 10_000].map((count) => computed(new SnapshotVersions().of(routes(count), [])).steps);
    expect(few).toBeGreaterThanOrEqual(5);
    expect(many).toBeGreaterThanOrEqual(100 * (few ?? Infinity) * 0.8);
  });

  it('is equal for equal routes and warnings, and differs for any others', () => {
    const version = (all: readonly Route[], warnings: readonly string[] = []): string =>
      computed(new SnapshotVersions().of(all, warnings)).version;
    const all = routes(50);
    expect(version(routes(50))).toBe(version(all));
    const [first, ...rest] = all;
    const others = [version(rest), version(all, ['a warning']), version([...rest, ...(first ? [first] : [])])];
    expect(new Set([version(all), ...others]).size).toBe(4);
  });
});
