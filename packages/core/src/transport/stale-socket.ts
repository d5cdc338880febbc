import { lstat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';

/**
 * Binds the unix socket at `path` by `bind`. A socket that nobody listens on any more, left behind by a process that was killed, is replaced;
 * anything else at this path is not touched.
 *
 * Rejects with the system's error, `EADDRINUSE` when somebody listens there, or there is something else.
 */
export async function replacingStale<Bound>(path: string, bind: () => Promise<Bound>): Promise<Bound> {
  try {
    return await bind();
  } catch (reason) {
    if (!isInUse(reason) || !(await removeStale(path))) throw reason;
    return await bind();
  }
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
