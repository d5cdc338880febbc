import { lstat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { systemCode } from '../errors.ts';

/**
 * Binds the unix socket at `path` with `bind`. Replaces a stale socket, left behind by a killed process; any other file
 * is left alone.
 *
 * Rejects with the system's error: `EADDRINUSE` if there is a listener or another file.
 */
export async function replacingStale<Bound>(path: string, bind: () => Promise<Bound>): Promise<Bound> {
  try {
    return await bind();
  } catch (reason) {
    if (systemCode(reason) !== 'EADDRINUSE' || !(await removeStale(path))) throw reason;
    return await bind();
  }
}

/**
 * Removes a stale socket. @returns whether there was one. The file must be the same before and after the check: another
 * process may have replaced it.
 */
async function removeStale(path: string): Promise<boolean> {
  const before = await lstat(path).catch(() => undefined);
  if (before?.isSocket() !== true || !(await isRefused(path))) return false;
  const now = await lstat(path).catch(() => undefined);
  if (now?.ino !== before.ino || now.ctimeMs !== before.ctimeMs) return false;
  await unlink(path);
  return true;
}

/** Whether connections are refused: the file exists, but nothing listens (connect(2), `ECONNREFUSED`). */
function isRefused(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const end = (refused: boolean): void => {
      socket.destroy();
      resolve(refused);
    };
    socket.once('connect', () => end(false));
    socket.once('error', (error) => end(systemCode(error) === 'ECONNREFUSED'));
  });
}
