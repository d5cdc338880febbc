import { unixPath } from '@meshgate/core';
import { canBeShared } from '@meshgate/core/parts';
import type { Endpoint, Problem } from '@meshgate/core';
import type { GatewayConfig } from '../config/config-schema.ts';

/** Unix sockets that this process cannot bind for its workers, because their temporary name is too long. */
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
 * Why workers that bind by themselves cannot all listen on what a source lists: a path cannot be bound twice, and each
 * would get a different port for port 0. For listeners of the configuration, the primary binds the former, and the
 * first worker decides the latter.
 */
export function whyUnshared(transport: string, endpoint: Endpoint): string | undefined {
  if (unixPath(endpoint) !== undefined)
    return `workers cannot share a unix socket that a source lists with transport ${transport}: expected it in the configuration`;
  if (endpoint.port !== 0) return undefined;
  return `workers cannot share port 0 with transport ${transport}, each would get a different one: expected a port`;
}
