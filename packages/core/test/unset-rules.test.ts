import { describe, expect, it } from 'vitest';
import { withSlots } from '../src/pipeline/backend-slots.ts';
import { withPreface } from '../src/pipeline/connection.ts';
import type { Upstream } from '../src/pipeline/connection.ts';
import { DEFAULT_LIMITS } from '../src/pipeline/limits.ts';
import { lifetimes } from '../src/pipeline/lifetimes.ts';
import { MaxAges } from '../src/pipeline/max-ages.ts';
import { routeRules } from '../src/pipeline/route-rules.ts';
import type { ConnectContext } from '../src/pipeline/stages.ts';
import type { Route } from '../src/routes/route.ts';

const ROUTE: Route = { name: 'api', serverNames: ['api.example.com'], backends: [] };
// Never read: a getter that is called would throw.
const CONTEXT = new Proxy({} as ConnectContext, {
  get(_target, key) {
    throw new Error(`expected nobody to ask for ${String(key)}`);
  },
});

describe('a connection of a route without rules', () => {
  it('gets the very promise of the inner connector: nothing is allocated', () => {
    const reached = new Promise<Upstream>(() => undefined);
    const inner = { connect: () => reached };
    expect(routeRules()(inner).connect(ROUTE, CONTEXT)).toBe(reached);
    expect(withSlots(1, () => reached).connect(ROUTE, CONTEXT)).toBe(reached);
  });

  it('keeps the limits of the proxy and its first bytes as they are', () => {
    const head = Buffer.from('hello');
    expect(lifetimes(DEFAULT_LIMITS, ROUTE)).toBe(DEFAULT_LIMITS);
    expect(withPreface({}, head)).toBe(head);
    expect(DEFAULT_LIMITS.maxAgeMs).toBeUndefined();
  });
});

describe('the limits of a route in one of several processes', () => {
  it.each([
    ['connections', { connections: 3 }, 1],
    ['connections of which each process gets less than one', { connections: 1 }, 1],
    ['a rate', { rate: { count: 5, perMs: 3_600_000 } }, 2],
    ['a rate of which each process gets less than one', { rate: { count: 1, perMs: 3_600_000 } }, 1],
  ])('are its part of %s, at least one', async (_what, limits, mine) => {
    const inner = { connect: () => Promise.resolve({ release: () => undefined } as unknown as Upstream) };
    const { connect } = routeRules({ share: 0.5 })(inner);
    const go = (): Promise<unknown> => connect({ ...ROUTE, limits }, {} as ConnectContext);
    for (let index = 0; index < mine; index += 1) await go();
    await expect(go()).rejects.toMatchObject({ code: 'LIMIT_REACHED' });
  });
});

describe('maximum ages', () => {
  it('are ended with their session: no timer ends another one', () => {
    const ages = new MaxAges();
    const session = { cut: () => expect.unreachable('expected no cut') };
    ages.begin(session, 3_600_000);
    ages.begin(session, Infinity);
    ages.end(session);
    ages.end(session);
  });
});
