import { describe, expect, it } from 'vitest';
import type { OfferedPart } from '../src/lifecycle/plugin-parts.ts';
import type { Upstream } from '../src/pipeline/connection.ts';
import type { ConnectContext, Connector, Resolver } from '../src/pipeline/stages.ts';
import { offeredBalances, withUsedLayers, withUsedResolvers } from '../src/pipeline/used-parts.ts';
import type { Route } from '../src/routes/route.ts';

const HERE = { host: '::1', port: 1 };
const ACCEPTED = { id: '1', listener: 'l', remote: HERE, local: HERE, at: 0 };
// Not read here.
const CONTEXT = {} as ConnectContext;
const REACHED = {} as Upstream;
const inner: Connector = { connect: () => Promise.resolve(REACHED) };
const broken = (): never => {
  throw new Error('depth: expected a number');
};

function route(...names: readonly string[]): Route {
  return { name: 'r', serverNames: [], backends: [], use: names.map((name) => ({ name, settings: { name } })) };
}

function offered(parts: Readonly<Record<string, OfferedPart>>): ReadonlyMap<string, OfferedPart> {
  return new Map(Object.entries(parts));
}

describe('a route that uses layers', () => {
  it.each<[what: string, parts: Readonly<Record<string, OfferedPart>>, why: string]>([
    ['nobody offers', {}, 'the route r uses "traced", which no plugin offers'],
    ['is a filter', { traced: { kind: 'filter', make: broken } }, 'a filter: expected a layer or a resolver'],
    ['is a balance', { traced: { kind: 'balance', make: broken } }, 'a balance: expected a layer or a resolver'],
    [
      'refuses its settings',
      { traced: { kind: 'layer', make: broken } },
      'which refuses its settings: depth: expected',
    ],
  ])('reaches no backend by one that %s', async (_what, parts, why) => {
    const connecting = withUsedLayers(inner, offered(parts)).connect(route('traced'), CONTEXT);
    await expect(connecting).rejects.toMatchObject({ code: 'INTERNAL' });
    await expect(connecting).rejects.toThrow(why);
  });

  it('has them made once, the first outermost, and takes no layer of a resolver', async () => {
    const calls: string[] = [];
    const layer = (name: string): OfferedPart => ({
      kind: 'layer',
      make: () => (next) => {
        calls.push(`made ${name}`);
        return { connect: (to, context) => (calls.push(name), next.connect(to, context)) };
      },
    });
    const parts = offered({ a: layer('a'), b: layer('b'), c: { kind: 'resolver', make: broken } });
    const connector = withUsedLayers(inner, parts);
    const one = route('a', 'c', 'b');
    await connector.connect(one, CONTEXT);
    await connector.connect(one, CONTEXT);
    expect(calls).toEqual(['made b', 'made a', 'a', 'b', 'a', 'b']);
  });

  it('is none when it names none', async () => {
    const connector = withUsedLayers(inner, new Map());
    await expect(connector.connect({ ...route(), use: [] }, CONTEXT)).resolves.toBe(REACHED);
    await expect(connector.connect({ name: 'r', serverNames: [], backends: [] }, CONTEXT)).resolves.toBe(REACHED);
  });
});

describe('a route that uses resolvers', () => {
  const used = route('mine');
  const other = { ...route(), name: 'other' };
  const finds = (found: Route | undefined): Resolver => ({ resolve: () => found });
  const resolve = (resolver: Resolver): Route | undefined => resolver.resolve({ protocol: 'x' }, ACCEPTED);
  const resolving = (make: () => Resolver): ReadonlyMap<string, OfferedPart> =>
    offered({ mine: { kind: 'resolver', make }, a: { kind: 'layer', make: broken } });

  it.each<[what: string, found: Route | undefined, expected: Route]>([
    ['what they know', other, other],
    ['the route itself where they know nothing', undefined, used],
  ])('leads to %s', (_what, found, expected) => {
    expect(
      resolve(
        withUsedResolvers(
          finds(used),
          resolving(() => finds(found)),
        ),
      ),
    ).toBe(expected);
  });

  it('has them made once', () => {
    let made = 0;
    const resolver = withUsedResolvers(
      finds(used),
      resolving(() => ((made += 1), finds(undefined))),
    );
    expect([resolve(resolver), resolve(resolver), made]).toEqual([used, used, 1]);
  });

  it('leads nowhere when one refuses its settings', () => {
    expect(() => resolve(withUsedResolvers(finds(used), resolving(broken)))).toThrow(
      'the route r uses "mine", which refuses its settings: depth: expected a number',
    );
  });

  it('is as without where it uses layers only, no route is found, or nobody offers any', () => {
    const parts = resolving(broken);
    const layered = route('a');
    expect(resolve(withUsedResolvers(finds(layered), parts))).toBe(layered);
    expect(resolve(withUsedResolvers(finds(undefined), parts))).toBeUndefined();
    const without = finds(used);
    expect(withUsedResolvers(without, offered({ a: { kind: 'layer', make: broken } }))).toBe(without);
  });
});

it('balances are those of the parts that are offered', () => {
  const make = broken;
  const parts = offered({ a: { kind: 'balance', make }, b: { kind: 'layer', make }, c: { kind: 'balance', make } });
  expect([...offeredBalances(parts).keys()]).toEqual(['a', 'c']);
});
