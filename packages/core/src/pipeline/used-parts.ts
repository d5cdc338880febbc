import { errorOf, ProxyError } from '../errors.ts';
import type { OfferedParts } from '../lifecycle/plugin-parts.ts';
import type { PartUse, Route } from '../routes/route.ts';
import type { BalanceFactory } from './picker.ts';
import { layered } from './stages.ts';
import type { Connector, Layer, Resolver } from './stages.ts';

/**
 * `inner`, wrapped for each route in the layers that it uses. They are made once for a route, when it is first connected. A route that
 * uses a part which nobody offers, or which refuses its settings, reaches no backend: `INTERNAL` says why.
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
 * `inner`; when the route that it finds uses resolvers, they are asked next, and what the first of them knows takes its place. They are
 * made once for a route. Throws `INTERNAL` when one refuses its settings.
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

/** Makers of pickers by the names that routes give in `balance`. */
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
