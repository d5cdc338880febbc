import type { Accepted, Observer, ProxyEvent } from '@meshgate/core';

/**
 * `observer` as it is told things in a worker: connections have ids that no other worker gives away, and what the primary has
 * to tell, of the sources and of the drain, is told by the primary alone.
 */
export function workerObserver(idPrefix: string, observer: Observer): Observer {
  const { name } = observer;
  const unique = (connection: Accepted): Accepted => ({ ...connection, id: idPrefix + connection.id });
  return {
    ...(name !== undefined && { name }),
    observe: (event) => (OF_THE_PRIMARY.has(event.type) ? undefined : observer.observe(withIds(event, unique))),
  };
}

function withIds(event: ProxyEvent, unique: (connection: Accepted) => Accepted): ProxyEvent {
  if (event.type === 'connection.closed')
    return { ...event, closed: { ...event.closed, connection: unique(event.closed.connection) } };
  return 'connection' in event ? { ...event, connection: unique(event.connection) } : event;
}

const OF_THE_PRIMARY: ReadonlySet<ProxyEvent['type']> = new Set([
  'routes.replaced',
  'source.updated',
  'source.failed',
  'source.refused',
  'drain.started',
  'drain.ended',
]);
