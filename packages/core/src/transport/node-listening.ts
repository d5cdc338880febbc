import cluster from 'node:cluster';
import { existsSync, linkSync, renameSync, unlinkSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Server } from 'node:net';
import { dirname, join } from 'node:path';

/**
 * Has `listen` bind `path`, so that closing the server does not take the path away: Node removes the path that it has bound, also when
 * another process goes on with the socket. It is therefore bound under another name in the same folder, and linked to its own.
 *
 * @throws the system's error; `EADDRINUSE` when the path is taken
 */
export async function bindPath(path: string, listen: (bound: string) => Promise<void>, server: Server): Promise<void> {
  if (isRemovedByNode(path)) return listen(path);
  const other = join(dirname(path), `.${process.pid.toString(36)}-${(bound += 1).toString(36)}`);
  await listen(other);
  try {
    linkOrMove(other, path);
  } catch (reason) {
    server.close();
    throw Object.assign(new Error(`listen EADDRINUSE: address already in use ${path}`, { cause: reason }), {
      code: 'EADDRINUSE',
      syscall: 'listen',
      address: path,
    });
  }
}

let bound = 0;

/** `sun_path` of unix(7) holds 108, 104 on other systems: with room for the other name. */
const MAX_FOLDER_BYTES = 84;

/** A link fails where there is something already; not every file system knows links. */
function linkOrMove(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch (reason) {
    if (existsSync(to)) throw reason;
    renameSync(from, to);
    return;
  }
  unlinkSync(from);
}

/**
 * Whether Node removes the path with the server: where the primary of a cluster binds it for all workers, or there is no room for another
 * name.
 */
export function isRemovedByNode(path: string | undefined): boolean {
  return path !== undefined && (cluster.isWorker || Buffer.byteLength(dirname(path)) > MAX_FOLDER_BYTES);
}

/** Left behind, it would keep the next listener from binding. */
export function removePath(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Node has removed it, or somebody else.
  }
}

/** The descriptor that a server listens on; `undefined` where the system has none. */
export function descriptorOf(server: Server): number | undefined {
  const fd = handleOf(server)?.fd ?? -1;
  return fd >= 0 ? fd : undefined;
}

/** What Node listens by. It keeps it from its types. */
export function handleOf(server: Server): { readonly fd?: number } | undefined {
  return (Reflect.get(server, HANDLE) as { readonly fd?: number } | null) ?? undefined;
}

const HANDLE = '_handle';

/** What Node can listen by, and send to another process, of a descriptor that it knows nothing of yet. */
export function inheritedHandle(fd: number): object {
  const socket = new Socket({ fd, readable: false, writable: false });
  const handle = Reflect.get(socket, HANDLE) as object | null | undefined;
  if (handle === undefined || handle === null) throw new Error(`expected a socket as descriptor ${fd}, found none`);
  Reflect.set(socket, HANDLE, null);
  return handle;
}
