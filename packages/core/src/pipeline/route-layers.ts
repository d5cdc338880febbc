import { ProxyError } from '../errors.ts';
import type { LayerFactory } from '../lifecycle/plugin.ts';
import type { PartUse, Route } from '../routes/route.ts';
import { layered } from './stages.ts';
import type { Connector, Layer } from './stages.ts';

/**
 * `inner`, wrapped for each route in the layers that it uses. They are made once for a route, when it is first connected. A route that
 * uses a layer which nobody offers, or which refuses its settings, reaches no backend: `INTERNAL` says why.
 *
 * @param offered makers of layers by name
 */
export function withRouteLayers(inner: Connector, offered: ReadonlyMap<string, LayerFactory>): Connector {
  const made = new WeakMap<Route, Connector>();
  return { connect: (route, context) => connectorOf(route).connect(route, context) };

  function connectorOf(route: Route): Connector {
    if (route.use === undefined) return inner;
    let connector = made.get(route);
    if (connector === undefined) {
      connector = layered(
        inner,
        route.use.map((use) => layerOf(route, use)),
      );
      made.set(route, connector);
    }
    return connector;
  }

  function layerOf({ name: route }: Route, { name, settings }: PartUse): Layer<Connector> {
    const make = offered.get(name);
    if (make === undefined) return refusing(`the route ${route} uses ${JSON.stringify(name)}, which no plugin offers`);
    try {
      return make(settings);
    } catch (reason) {
      const why = reason instanceof Error ? reason.message : String(reason);
      return refusing(`the route ${route} uses ${JSON.stringify(name)}, which refuses its settings: ${why}`);
    }
  }
}

function refusing(why: string): Layer<Connector> {
  return () => ({ connect: () => Promise.reject(new ProxyError('INTERNAL', why)) });
}
