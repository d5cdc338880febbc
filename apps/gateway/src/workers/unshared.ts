import { unixPath } from '@meshgate/core';
import type { Endpoint, Problem } from '@meshgate/core';
import type { GatewayConfig } from '../config/config-schema.ts';

/**
 * Listeners that several workers cannot have together, with a transport whose workers bind by themselves: ports can be shared so
 * (socket(7), `SO_REUSEPORT`), paths of unix sockets cannot.
 */
export function unsharedBy(
  transport: { readonly name: string },
  { workers = 1, listeners = [] }: Partial<Pick<GatewayConfig, 'workers' | 'listeners'>>,
): readonly Problem[] {
  if (workers === 1 || transport.name === 'node') return [];
  return listeners.flatMap(({ endpoint }, index) => {
    if (unixPath(endpoint) === undefined) return [];
    return [{ message: noUnixSocket(transport.name), path: ['listeners', index, 'address'] }];
  });
}

/**
 * Why workers that bind by themselves cannot all listen on what a source lists. Of a port 0 the system gives each another one; that of a
 * listener of the configuration is settled by the first worker.
 */
export function whyUnshared(transport: string, endpoint: Endpoint): string | undefined {
  if (unixPath(endpoint) !== undefined) return noUnixSocket(transport);
  if (endpoint.port !== 0) return undefined;
  return `workers share no port 0 with the transport ${transport}, each would get another one: expected a port`;
}

function noUnixSocket(transport: string): string {
  return `workers share no unix socket with the transport ${transport}: expected workers: 1, or transport: node`;
}
