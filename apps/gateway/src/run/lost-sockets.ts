import { statSync } from 'node:fs';
import { unixPath } from '@meshgate/core';
import type { ListenerStatus } from '@meshgate/core/parts';

/**
 * Warnings about unix sockets that are open, but whose files were removed, as by a cleanup of temporary files: the
 * system reports no error, and no client can connect.
 */
export function lostSockets(listeners: readonly ListenerStatus[]): readonly string[] {
  return listeners.flatMap(({ name, address }) => {
    const path = address && unixPath(address);
    if (path === undefined || isSocket(path)) return [];
    return [`listener ${name}: its socket ${path} was removed, no client can connect: restart the gateway`];
  });
}

function isSocket(path: string): boolean {
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false })?.isSocket() === true;
  } catch {
    // Not readable here, and perhaps for clients.
    return true;
  }
}
