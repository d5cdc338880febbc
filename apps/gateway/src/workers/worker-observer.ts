import type { Observer, ProxyEvent } from '@meshgate/core';

/** `observer` without the events that the primary reports itself: those of sources and of the drain. */
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
