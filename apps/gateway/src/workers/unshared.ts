import { unixPath } from '@meshgate/core';
import { canBeShared } from '@meshgate/core/parts';
import type { Endpoint, Problem } from '@meshgate/core';
import type { GatewayConfig } from '../config/config-schema.ts';

/** Reports unix sockets that the primary cannot bind for its workers, because their temporary name is too long. */
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

const NO_ROOM = 'expected a shorter path: workers share a unix socket, which needs a second name in its folder';

/**
 * Returns why workers with their own sockets cannot all listen on an address from a source: a path cannot be bound
 * twice, and port 0 would become a different port in each worker. For listeners in the configuration, the primary binds
 * the path, and the first worker determines the port.
 */
export function whyUnshared(transport: string, endpoint: Endpoint): string | undefined {
  if (unixPath(endpoint) !== undefined)
    return `workers cannot share a unix socket that a source lists with transport ${transport}: expected it in the configuration`;
  if (endpoint.port !== 0) return undefined;
  return `workers cannot share port 0 with transport ${transport}, each would get a different one: expected a port`;
}
