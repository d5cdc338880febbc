import { unixPath } from '@meshgate/core';
import type { Problem, Transport } from '@meshgate/core';
import type { GatewayConfig } from '../config-schema.ts';

/**
 * Listeners that several workers cannot have together: a unix socket, with a transport whose workers bind by themselves. Ports
 * can be shared so (socket(7), `SO_REUSEPORT`), paths cannot.
 */
export function unsharedBy({ name }: Transport, { workers, listeners }: GatewayConfig): readonly Problem[] {
  if (workers === 1 || name === 'node') return [];
  return listeners.flatMap(({ endpoint }, index) => {
    if (unixPath(endpoint) === undefined) return [];
    const message = `workers share no unix socket with the transport ${name}: expected workers: 1, or transport: node`;
    return [{ message, path: ['listeners', index, 'address'] }];
  });
}
