import type { Observer, ProxyEvent } from '@meshgate/core';

/** Returns `observer` without the events of sources and drain, which the primary reports itself. */
export function workerObserver(observer: Observer): Observer {
  const { name } = observer;
  return {
    ...(name !== undefined && { name }),
    observe: (event) => (OF_THE_PRIMARY.has(event.type) ? undefined : observer.observe(event)),
  };
}

const OF_THE_PRIMARY: ReadonlySet<ProxyEvent['type']> = new Set([
  'routes.replaced',
  'source.removed',
  'source.updated',
  'source.failed',
  'source.refused',
  'drain.started',
  'drain.ended',
]);
