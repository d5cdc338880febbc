import { once } from 'node:events';
import type { Server } from 'node:http';
import { bindPath, replacingStale } from '@meshgate/core/parts';

/**
 * Makes `server` listen on a unix socket for its owner and group (mode 0660). Replaces the stale socket of a killed
 * process, but no other file at this path.
 *
 * Rejects with the system's error; `EADDRINUSE` when another process listens on the socket.
 */
export function listenOnSocket(server: Server, path: string): Promise<void> {
  // Binds the path separately, so that closing the server leaves it to a successor.
  return replacingStale(path, () => bindPath(path, (bound) => listen(server, bound), server));
}

/** Mode bits that the socket must not have: execute, which has no effect, and all bits for others. */
const SOCKET_UMASK = 0o117;

async function listen(server: Server, path: string): Promise<void> {
  // The socket is bound within this call: no other file is created under this umask, and the socket never has another
  // mode.
  const before = process.umask(SOCKET_UMASK);
  try {
    server.listen({ path });
  } finally {
    process.umask(before);
  }
  await once(server, 'listening');
}
