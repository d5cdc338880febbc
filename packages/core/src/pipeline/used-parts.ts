import { errorOf, ProxyError } from '../errors.ts';
import type { OfferedParts } from '../lifecycle/plugin-parts.ts';
import type { PartUse, Route } from '../routes/route.ts';
import type { BalanceFactory } from './picker.ts';
import { layered } from './stages.ts';
import type { Connector, Layer, Resolver } from './stages.ts';

/**
 * Wraps `inner`, for each route, in the layers that the route uses. They are created once per route, at its first
 * connection. If a route uses a part that no plugin offers, or one that refuses its settings, its connections fail with
 * `INTERNAL` and the reason.
 */
export function withUsedLayers(inner: Connector, offered: OfferedParts): Connector {
  const made = new WeakMap<Route, Connector>();
  return { connect: (route, context) => connectorOf(route).connect(route, context) };

  function connectorOf(route: Route): Connector {
    const { use } = route;
    if (use === undefined) return inner;
    return madeOnce(made, route, () => {
      return layered(
        inner,
        use.flatMap((one) => layerOf(route, one)),
      );
    });
  }

  function layerOf(route: Route, use: PartUse): readonly Layer<Connector>[] {
    const part = offered.get(use.name);
    if (part === undefined) return refusing(refusal(route, use, 'which no plugin offers'));
    if (part.kind === 'resolver') return [];
    if (part.kind !== 'layer') return refusing(refusal(route, use, `a ${part.kind}: expected a layer or a resolver`));
    try {
      return [part.make(use.settings)];
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
  const made = new WeakMap<Route, readonly Resolver[]>();
  return {
    resolve(hello, from) {
      const route = inner.resolve(hello, from);
      if (route?.use === undefined) return route;
      const { use } = route;
      for (const resolver of madeOnce(made, route, () => use.flatMap((one) => resolverOf(route, one)))) {
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

function madeOnce<Made>(made: WeakMap<Route, Made>, route: Route, make: () => Made): Made {
  const known = made.get(route);
  if (known !== undefined) return known;
  const fresh = make();
  made.set(route, fresh);
  return fresh;
}

function refusal({ name: route }: Route, { name }: PartUse, why: string): ProxyError {
  return new ProxyError('INTERNAL', `the route ${route} uses ${JSON.stringify(name)}, ${why}`);
}

function refusing(refused: ProxyError): readonly Layer<Connector>[] {
  return [() => ({ connect: () => Promise.reject(refused) })];
}
