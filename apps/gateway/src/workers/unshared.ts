import { unixPath } from '@meshgate/core';
import { canBeShared } from '@meshgate/core/parts';
import type { Endpoint, Problem } from '@meshgate/core';
import type { GatewayConfig } from '../config/config-schema.ts';

/** Unix sockets that this process cannot bind for its workers, since there is no room for the name under which it does. */
export function unsharedBy({
  workers = 1,
  listeners = [],
}: Partial<Pick<GatewayConfig, 'workers' | 'listeners'>>): readonly Problem[] {
  if (workers === 1) return [];
  return listeners.flatMap(({ endpoint }, index) => {
    const path = unixPath(endpoint);
    if (path === undefined || canBeShared(path)) return [];
    return [{ message: NO_ROOM, path: ['listeners', index, 'address'] }];
  });
}

const NO_ROOM = 'expected a shorter path: several workers share a unix socket, which takes a second name in its folder';

/**
 * Why workers that bind by themselves cannot all listen on what a source lists: a path cannot be bound twice, and of a port 0 the system
 * gives each another one. Of listeners of the configuration, the primary binds the first, and the first worker settles the second.
 */
export function whyUnshared(transport: string, endpoint: Endpoint): string | undefined {
  if (unixPath(endpoint) !== undefined)
    return `workers share no unix socket with the transport ${transport} that a source lists: expected it in the configuration`;
  if (endpoint.port !== 0) return undefined;
  return `workers share no port 0 with the transport ${transport}, each would get another one: expected a port`;
}
