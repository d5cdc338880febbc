import { parseEndpoint, ProxyError } from '@meshgate/core';
import { ADDRESS_OR_BLOCK_FORM, addressSet, inTurns, isAddressOrBlock } from '@meshgate/core/parts';
import type { LiveConnection } from '@meshgate/core/parts';
import { DURATION_FORM, parseDuration } from '@meshgate/documents';
import { connectionsView } from './views.ts';
import type { ConnectionView } from './views.ts';

/** Selects live connections that match every given criterion. */
export interface ConnectionQuery {
  readonly id?: string;
  /** Name of the route. */
  readonly route?: string;
  /** Address or block of the client, or `unix`. */
  readonly client?: string;
  /** `host:port` of the last dial, or of the backend as its route names it. */
  readonly backend?: string;
  /** Minimum age in milliseconds. */
  readonly olderThanMs?: number;
}

/** The query parameters, for the OpenAPI document. */
export const CONNECTION_PARAMETERS = [
  { name: 'route', description: 'name of the route' },
  { name: 'client', description: 'address or block of the client, or unix' },
  { name: 'backend', description: 'address or name of the backend, host:port' },
  { name: 'olderThan', description: 'accepted longer ago than this: 30s, 5m, 1h' },
] as const;

/**
 * Parses the query parameters. Rejects unknown names, so that a typing error does not close every connection.
 *
 * @returns the problem as a string when a parameter is invalid
 */
export function parseConnectionQuery(parameters: URLSearchParams): ConnectionQuery | string {
  const known = CONNECTION_PARAMETERS.map(({ name }) => name);
  for (const name of parameters.keys())
    if (!known.some((one) => one === name))
      return `unknown parameter ${JSON.stringify(name)}: known ones are ${known.join(', ')}`;
  const repeated = known.find((name) => parameters.getAll(name).length > 1);
  if (repeated !== undefined) return `expected ${repeated} once, found it ${parameters.getAll(repeated).length} times`;
  const [route, client, backend, older] = known.map((name) => parameters.get(name) ?? undefined);
  if (client !== undefined && !isAddressOrBlock(client))
    return `expected client to be ${ADDRESS_OR_BLOCK_FORM}, found ${JSON.stringify(client)}`;
  const olderThanMs = older === undefined ? undefined : parseDuration(older);
  if (older !== undefined && olderThanMs === undefined)
    return `expected olderThan to be ${DURATION_FORM}, found ${JSON.stringify(older)}`;
  return {
    ...(route !== undefined && { route }),
    ...(client !== undefined && { client }),
    ...(backend !== undefined && { backend }),
    ...(olderThanMs !== undefined && { olderThanMs }),
  };
}

/** Returns a function that decides whether a connection matches `query`. */
export function matching(query: ConnectionQuery): (connection: ConnectionView) => boolean {
  const { id, route, client, backend, olderThanMs = -1 } = query;
  const clients = client === undefined ? undefined : addressSet([client]);
  return (connection) =>
    (id === undefined || connection.id === id) &&
    (route === undefined || connection.route === route) &&
    (backend === undefined || connection.backend === backend || connection.backendName === backend) &&
    connection.ageMs > olderThanMs &&
    (clients === undefined || clients.has(parseEndpoint(connection.remote)?.host ?? ''));
}

/**
 * Closes the matching connections with `CLOSED_BY_ADMIN`, in linear time. Yields to the event loop every 5 ms.
 *
 * @returns the number of closed connections
 */
export function closeConnections(sessions: Iterable<QueriedConnection>, query: ConnectionQuery): Promise<number> {
  return inTurns(closing(Array.from(sessions), matching(query)));
}

interface QueriedConnection {
  readonly live: LiveConnection | undefined;
  cut(reason: ProxyError): boolean;
}

const BY_HAND = new ProxyError('CLOSED_BY_ADMIN', 'closed by an operator');

function* closing(
  sessions: readonly QueriedConnection[],
  isSelected: (connection: ConnectionView) => boolean,
): Generator<void, number> {
  let closed = 0;
  for (const session of sessions) {
    const { live } = session;
    const [view] = live === undefined ? [] : connectionsView([live]);
    if (view !== undefined && isSelected(view) && session.cut(BY_HAND)) closed += 1;
    yield;
  }
  return closed;
}
