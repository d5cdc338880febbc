import { once } from 'node:events';
import type { Server } from 'node:http';
import { bindPath, replacingStale } from '@meshgate/core/parts';

/**
 * Has `server` listen on a unix socket that its owner and group may use (mode 0660). A socket that nobody listens on any more, left by a
 * process that was killed, is replaced; anything else at this path is not touched.
 *
 * Rejects with the system's error, `EADDRINUSE` when somebody listens there.
 */
export function listenOnSocket(server: Server, path: string): Promise<void> {
  // So that closing the server leaves the path to a successor.
  return replacingStale(path, () => bindPath(path, (bound) => listen(server, bound), server));
}

/** What a socket file of ours may not grant: execution, which means nothing, and anything to others. */
const SOCKET_UMASK = 0o117;

async function listen(server: Server, path: string): Promise<void> {
  // A socket is bound within the call, so that no other file is made under this mask, and the socket never has another mode.
  const before = process.umask(SOCKET_UMASK);
  try {
    server.listen({ path });
  } finally {
    process.umask(before);
  }
  await once(server, 'listening');
}
