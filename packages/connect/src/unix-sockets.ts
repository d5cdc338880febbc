import { once } from 'node:events';
import { chmod, lstat, stat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { platform } from 'node:os';
import { dirname } from 'node:path';
import { unixPath } from '@meshgate/core';
import { withListen } from '@meshgate/core/parts';
import type { Endpoint, Transport } from '@meshgate/core';
import type { ProxyView } from '@meshgate/mesh';

/**
 * Listens on the unix sockets of upstreams, with the permissions in their definitions; replaces the stale socket of a
 * killed process. Until the permissions are set the process's umask applies, which usually excludes other users.
 *
 * @param view returns the current view
 */
export function withUnixSockets(inner: Transport, view: () => ProxyView | undefined): Transport {
  return withListen(inner, (listen) => async (at, options, onConnection) => {
    const path = unixPath(at);
    if (path === undefined) return listen(at, options, onConnection);
    await prepare(path);
    const listening = await listen(at, options, onConnection);
    const mode = modeOf(at, view());
    try {
      if (mode !== undefined) await chmod(path, mode);
      return listening;
    } catch (reason) {
      await listening.close();
      throw reason;
    }
  });
}

/** The kernel's limit, without the final NUL; it would silently truncate a longer path. */
const MAX_PATH_BYTES = platform() === 'darwin' ? 103 : 107;

async function prepare(path: string): Promise<void> {
  const length = Buffer.byteLength(path);
  if (length > MAX_PATH_BYTES)
    throw new Error(`expected a path of at most ${MAX_PATH_BYTES} bytes for a unix socket, found one of ${length}`);
  // Checks the folder first: the system would report a missing one as a permission error.
  await stat(dirname(path));
  if (await isStale(path)) await unlink(path);
}

/** Whether no process listens on a socket: unlike a port, its file survives a killed process. */
async function isStale(path: string): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isSocket() !== true) return false;
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return false;
  } catch (reason) {
    return reason instanceof Error && 'code' in reason && reason.code === 'ECONNREFUSED';
  } finally {
    socket.destroy();
  }
}

/** Parses octal permissions, as on a command line: `0600`, `770`. Ignores other values. */
function modeOf({ host }: Endpoint, view: ProxyView | undefined): number | undefined {
  const upstream = view?.upstreams.find(({ definition }) => definition.bind.host === host);
  const written = upstream?.definition.socketMode ?? '';
  return /^0?[0-7]{3}$/.test(written) ? Number.parseInt(written, 8) : undefined;
}
