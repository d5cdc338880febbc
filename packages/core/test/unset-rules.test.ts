import { describe, expect, it } from 'vitest';
import { withPlaces } from '../src/pipeline/backend-places.ts';
import { withPreface } from '../src/pipeline/connection.ts';
import type { Upstream } from '../src/pipeline/connection.ts';
import { DEFAULT_LIMITS } from '../src/pipeline/limits.ts';
import { lifetimes } from '../src/pipeline/lifetimes.ts';
import { MaxAges } from '../src/pipeline/max-ages.ts';
import { routeRules } from '../src/pipeline/route-rules.ts';
import type { ConnectContext } from '../src/pipeline/stages.ts';
import type { Route } from '../src/routes/route.ts';

const ROUTE: Route = { name: 'api', serverNames: ['api.example.com'], backends: [] };
// Nobody looks at it: a getter that is asked for anything would throw.
const CONTEXT = new Proxy({} as ConnectContext, {
  get(_target, key) {
    throw new Error(`expected nobody to ask for ${String(key)}`);
  },
});

describe('a connection of a route without rules', () => {
  it('gets the very promise of what is behind them: nothing is made, and nothing asked', () => {
    const reached = new Promise<Upstream>(() => undefined);
    const inner = { connect: () => reached };
    expect(routeRules()(inner).connect(ROUTE, CONTEXT)).toBe(reached);
    expect(withPlaces(1, () => reached).connect(ROUTE, CONTEXT)).toBe(reached);
  });

  it('keeps the limits of the proxy and its first bytes as they are', () => {
    const head = Buffer.from('hello');
    expect(lifetimes(DEFAULT_LIMITS, ROUTE)).toBe(DEFAULT_LIMITS);
    expect(withPreface({}, head)).toBe(head);
    expect(DEFAULT_LIMITS.maxAgeMs).toBeUndefined();
  });
});

describe('maximum ages', () => {
  it('are ended with their session: no timer ends another', () => {
    const ages = new MaxAges();
    const session = { cut: () => expect.unreachable('expected no cut') };
    ages.begin(session, 3_600_000);
    ages.begin(session, Infinity);
    ages.end(session);
    ages.end(session);
  });
});
