import { errorOf, ProxyError } from '../errors.ts';
import type { OfferedParts } from '../lifecycle/plugin-parts.ts';
import { memoized } from '../memo.ts';
import type { PartUse, Route } from '../routes/route.ts';
import type { BalanceFactory } from './picker.ts';
import type { Connector, Resolver } from './stages.ts';

/**
 * Wraps `inner`, for each route, in the layers that the route uses. They are created once per route, at its first
 * connection. If a route uses a part that no plugin offers, or one that refuses its settings, its connections fail with
 * `INTERNAL` and the reason.
 */
export function withUsedLayers(inner: Connector, offered: OfferedParts): Connector {
  const connectorOf = memoized((route: Route) =>
    (route.use ?? []).reduceRight((next, one) => wrapped(next, route, one), inner),
  );
  return {
    connect: (route, context) => (route.use === undefined ? inner : connectorOf(route)).connect(route, context),
  };

  function wrapped(next: Connector, route: Route, use: PartUse): Connector {
    const part = offered.get(use.name);
    if (part === undefined) return refusing(refusal(route, use, 'which no plugin offers'));
    if (part.kind === 'resolver') return next;
    if (part.kind !== 'layer') return refusing(refusal(route, use, `a ${part.kind}: expected a layer or a resolver`));
    try {
      return part.make(use.settings)(next);
    } catch (reason) {
      return refusing(refusal(route, use, `which refuses its settings: ${errorOf(reason).message}`));
    }
  }
}

/**
 * Wraps `inner`: if the resolved route uses resolvers, they are called in order, and the first route that one of them
 * returns replaces it. They are created once per route. Throws `INTERNAL` if one refuses its settings.
 */
export function withUsedResolvers(inner: Resolver, offered: OfferedParts): Resolver {
  if (!Array.from(offered.values()).some(({ kind }) => kind === 'resolver')) return inner;
  const resolversOf = memoized(
    (route: Route): readonly Resolver[] => route.use?.flatMap((one) => resolverOf(route, one)) ?? [],
  );
  return {
    resolve(hello, from) {
      const route = inner.resolve(hello, from);
      if (route?.use === undefined) return route;
      for (const resolver of resolversOf(route)) {
        const other = resolver.resolve(hello, from);
        if (other !== undefined) return other;
      }
      return route;
    },
  };

  function resolverOf(route: Route, use: PartUse): readonly Resolver[] {
    const part = offered.get(use.name);
    if (part?.kind !== 'resolver') return [];
    try {
      return [part.make(use.settings)];
    } catch (reason) {
      throw refusal(route, use, `which refuses its settings: ${errorOf(reason).message}`);
    }
  }
}

/** Returns the offered balance factories, by the name that routes give in `balance`. */
export function offeredBalances(offered: OfferedParts): ReadonlyMap<string, BalanceFactory> {
  return new Map(
    Array.from(offered).flatMap(([name, part]) => (part.kind === 'balance' ? [[name, part.make] as const] : [])),
  );
}

function refusal({ name: route }: Route, { name }: PartUse, why: string): ProxyError {
  return new ProxyError('INTERNAL', `the route ${route} uses ${JSON.stringify(name)}, ${why}`);
}

function refusing(refused: ProxyError): Connector {
  return { connect: () => Promise.reject(refused) };
}
