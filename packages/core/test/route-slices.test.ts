import { describe, expect, it } from 'vitest';
import { inSlices } from '../src/routes/route-slices.ts';
import type { Route } from '../src/index.ts';

const BACKEND = { address: { host: 'b', port: 1 }, weight: 1, healthy: true };

function routes(count: number, backends = 1): readonly Route[] {
  return Array.from({ length: count }, (_, index) => ({
    name: `r${index}`,
    serverNames: [`s${index}.example`],
    backends: Array.from({ length: backends }, () => BACKEND),
  }));
}

describe('slices of routes', () => {
  it.each([
    { what: 'none', all: routes(0), sizes: [] },
    { what: 'one', all: routes(1), sizes: [1] },
    { what: 'just enough for one share', all: routes(200), sizes: [200] },
    { what: 'one more', all: routes(201), sizes: [200, 1] },
    { what: 'routes of many backends', all: routes(7, 198), sizes: [3, 3, 1] },
    { what: 'routes larger than a share', all: routes(2, 5_000), sizes: [1, 1] },
  ])('are small and complete, in order: $what', ({ all, sizes }) => {
    const shares = [...inSlices(all)];
    expect(shares.map(({ length }) => length)).toEqual(sizes);
    expect(shares.flat()).toEqual(all);
  });
});
