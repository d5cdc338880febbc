import { describe, expect, it } from 'vitest';
import { lifetimes } from '../src/pipeline/lifetimes.ts';
import type { Route, RouteLimits } from '../src/routes/route.ts';

const LIMITS = { idleTimeoutMs: 100, halfCloseTimeoutMs: 50, maxAgeMs: 1_000 };

function routeWith(limits: RouteLimits): Route {
  return { name: 'r', serverNames: [], backends: [], limits };
}

describe('how long a connection may go on', () => {
  it('is what the proxy says where its route says nothing', () => {
    expect(lifetimes(LIMITS, undefined)).toBe(LIMITS);
    expect(lifetimes(LIMITS, routeWith({ connections: 1 }))).toEqual(LIMITS);
    expect(lifetimes({ idleTimeoutMs: 1, halfCloseTimeoutMs: 2 }, routeWith({}))).toEqual({
      idleTimeoutMs: 1,
      halfCloseTimeoutMs: 2,
    });
  });

  it('is what its route says', () => {
    const own = { idleTimeoutMs: Infinity, halfCloseTimeoutMs: 7, maxAgeMs: 8 };
    expect(lifetimes(LIMITS, routeWith(own))).toEqual(own);
  });

  it.each<[what: string, ms: unknown]>([
    ['nothing', 0],
    ['less than nothing', -1],
    ['no number', NaN],
    ['a text', '10s'],
    ['null', null],
  ])('is what the proxy says where a resolver has made a route with %s', (_what, ms) => {
    const own = { idleTimeoutMs: ms, halfCloseTimeoutMs: ms, maxAgeMs: ms } as RouteLimits;
    expect(lifetimes(LIMITS, routeWith(own))).toEqual(LIMITS);
  });
});
