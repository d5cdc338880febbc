import type { ConnectionFilter, Connector, PartUse, Resolver } from '@meshgate/core';
import { firstToKnow, layered } from '@meshgate/core/parts';
import type { OfferedParts } from '@meshgate/core/parts';
import { proxyProtocol } from '@meshgate/filters';
import type { ListenerSettings } from '../config/config-schema.ts';

const NONE: readonly ConnectionFilter[] = [];

/**
 * Returns the filters of each listener, in order. The PROXY protocol always comes first, as on the wire.
 *
 * @returns `undefined` when no listener has filters
 */
export function filtersByListener(
  listeners: readonly ListenerSettings[],
  offered: OfferedParts,
): ((listener: string) => readonly ConnectionFilter[]) | undefined {
  const filters = byListener(listeners, ({ filters: uses = [], proxyProtocol: trusted }) => {
    const named = uses.flatMap((use) => madeFilter(use, offered));
    const all = trusted === undefined ? named : [proxyProtocol(trusted), ...named];
    return all.length === 0 ? undefined : all;
  });
  return filters.size === 0 ? undefined : (listener) => filters.get(listener) ?? NONE;
}

/** Returns `inner`, preceded by the listener's resolvers on listeners that have any. */
export function withListenerResolvers(
  inner: Resolver,
  listeners: readonly ListenerSettings[],
  offered: OfferedParts,
): Resolver {
  const resolvers = byListener(listeners, ({ use = [] }) => {
    const own = use.flatMap(({ name, settings }) => {
      const part = offered.get(name);
      return part?.kind === 'resolver' ? [part.make(settings)] : [];
    });
    return own.length === 0 ? undefined : firstToKnow([...own, inner]);
  });
  if (resolvers.size === 0) return inner;
  return { resolve: (hello, from) => (resolvers.get(from.listener) ?? inner).resolve(hello, from) };
}

/** Returns `inner`, wrapped in the layers of the connection's listener. */
export function withListenerLayers(
  inner: Connector,
  listeners: readonly ListenerSettings[],
  offered: OfferedParts,
): Connector {
  const connectors = byListener(listeners, ({ use = [] }) => {
    const layers = use.flatMap(({ name, settings }) => {
      const part = offered.get(name);
      return part?.kind === 'layer' ? [part.make(settings)] : [];
    });
    return layers.length === 0 ? undefined : layered(inner, layers);
  });
  if (connectors.size === 0) return inner;
  return {
    connect: (route, context) => (connectors.get(context.connection.listener) ?? inner).connect(route, context),
  };
}

function madeFilter({ name, settings }: PartUse, offered: OfferedParts): readonly ConnectionFilter[] {
  const part = offered.get(name);
  return part?.kind === 'filter' ? [part.make(settings)] : [];
}

function byListener<Made>(
  listeners: readonly ListenerSettings[],
  make: (listener: ListenerSettings) => Made | undefined,
): ReadonlyMap<string, Made> {
  return new Map(
    listeners.flatMap((listener) => {
      const made = make(listener);
      return made === undefined ? [] : [[listener.name, made] as const];
    }),
  );
}
