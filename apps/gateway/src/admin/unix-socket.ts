import { once } from 'node:events';
import type { Server } from 'node:http';
import { bindPath, replacingStale } from '@meshgate/core/parts';

/**
 * Has `server` listen on a unix socket for its owner and group (mode 0660). A stale socket, left by a process that was
 * killed, is replaced; any other file at this path is not touched.
 *
 * Rejects with the system's error, `EADDRINUSE` when another process listens there.
 */
export function listenOnSocket(server: Server, path: string): Promise<void> {
  // So that closing the server leaves the path to a successor.
  return replacingStale(path, () => bindPath(path, (bound) => listen(server, bound), server));
}

/** Mode bits that our socket file must not have: execute, which has no effect, and anything for others. */
const SOCKET_UMASK = 0o117;

async function listen(server: Server, path: string): Promise<void> {
  // The socket is bound within the call, so no other file is created under this umask, and the socket never has another
  // mode.
  const before = process.umask(SOCKET_UMASK);
  try {
    server.listen({ path });
  } finally {
    process.umask(before);
  }
  await once(server, 'listening');
}
