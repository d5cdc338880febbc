import { once } from 'node:events';
import { lstat, unlink } from 'node:fs/promises';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import { bindPath } from '@meshgate/core/parts';

/**
 * Has `server` listen on a unix socket that its owner and group may use (mode 0660). A socket that nobody listens on any more, left by a
 * process that was killed, is replaced; anything else at this path is not touched.
 *
 * Rejects with the system's error, `EADDRINUSE` when somebody listens there.
 */
export async function listenOnSocket(server: Server, path: string): Promise<void> {
  try {
    await bind(server, path);
  } catch (reason) {
    if (!isInUse(reason) || !(await removeStale(path))) throw reason;
    await bind(server, path);
  }
}

/** So that closing the server leaves the path to a successor. */
function bind(server: Server, path: string): Promise<void> {
  return bindPath(path, (bound) => listen(server, bound), server);
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

/** Whether there was one, and it is gone. It must be the same file before and after the look: another process may have replaced it. */
async function removeStale(path: string): Promise<boolean> {
  const before = await lstat(path).catch(() => undefined);
  if (before?.isSocket() !== true || !(await isRefused(path))) return false;
  const now = await lstat(path).catch(() => undefined);
  if (now?.ino !== before.ino || now.ctimeMs !== before.ctimeMs) return false;
  await unlink(path);
  return true;
}

/** Whether a connection is refused: the file is there, and nobody listens (connect(2), `ECONNREFUSED`). */
function isRefused(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const end = (refused: boolean): void => {
      socket.destroy();
      resolve(refused);
    };
    socket.once('connect', () => end(false));
    socket.once('error', (error) => end('code' in error && error.code === 'ECONNREFUSED'));
  });
}

function isInUse(reason: unknown): boolean {
  return reason instanceof Error && 'code' in reason && reason.code === 'EADDRINUSE';
}
