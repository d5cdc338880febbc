import cluster from 'node:cluster';
import { closeSync, existsSync, linkSync, openSync, renameSync, statSync, unlinkSync } from 'node:fs';
import net, { Socket } from 'node:net';
import type { Server } from 'node:net';
import { devNull } from 'node:os';
import { dirname, join } from 'node:path';
import { getSystemErrorName } from 'node:util';
import { replacingStale } from './stale-socket.ts';

/**
 * Calls `listen` so that `path` is bound, but survives the close of the server: Node removes the path that it has
 * bound, even if another process continues with the socket. The socket is therefore bound under another name in the
 * same folder, and then linked to `path`.
 *
 * @throws the system's error; `EADDRINUSE` if the path is in use
 */
export async function bindPath(
  path: string,
  listen: (bound: string) => Promise<void> | void,
  server: { close(): unknown },
): Promise<void> {
  if (isRemovedByNode(path)) return listen(path);
  const other = join(dirname(path), `.${process.pid.toString(36)}-${(bound += 1).toString(36)}`);
  await listen(other);
  try {
    linkOrMove(other, path);
  } catch (reason) {
    server.close();
    throw bindError('EADDRINUSE', path, reason);
  }
}

let bound = 0;

/** A unix socket that other processes accept on, and this one never does. */
export interface SharedSocket {
  /** File descriptor, owned by this object. */
  readonly fd: number;
  /** The handle to pass to `process.send`. */
  readonly handle: object;
  /** Closes the socket in this process. The path stays. */
  close(): void;
}

/**
 * Binds `path` for other processes, since a path cannot be bound twice.
 *
 * @throws the system's error; `EADDRINUSE` if the path is in use
 */
export async function sharedPath(path: string): Promise<SharedSocket> {
  const create = Reflect.get(net, CREATE_HANDLE) as (path: string, port: -1, family: -1) => PathHandle | number;
  let handle: PathHandle | undefined;
  const bind = (at: string): void => {
    const made = create(at, -1, -1);
    if (typeof made === 'number') throw bindError(getSystemErrorName(made), path);
    handle = made;
  };
  await replacingStale(path, () => bindPath(path, bind, { close: () => handle?.close() }));
  if (handle === undefined) throw new Error(`expected a socket at ${path}, found none`);
  const { fd } = handle;
  return { fd, handle, close: handle.close.bind(handle) };
}

interface PathHandle {
  readonly fd: number;
  close(): void;
}

/** Node's internal function to bind for the workers of a cluster; not in its types. */
const CREATE_HANDLE = '_createServerHandle';

function bindError(code: string, path: string, cause?: unknown): Error {
  const words = code === 'EADDRINUSE' ? `${code}: address already in use` : code;
  return Object.assign(new Error(`listen ${words} ${path}`, { cause }), { code, syscall: 'listen', address: path });
}

/** `sun_path` holds 108 bytes (unix(7)), 104 on other systems: leaves room for the other name. */
const MAX_FOLDER_BYTES = 84;

/** link(2) fails if the target exists; not every file system supports it. */
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
 * Whether Node removes the path when the server closes: in the worker of a cluster, whose primary binds it, or if there
 * is no room for another name.
 */
export function isRemovedByNode(path: string | undefined): boolean {
  return path !== undefined && (cluster.isWorker || !canBeShared(path));
}

/** Whether the folder's path leaves room for the temporary name that a unix socket is bound under. */
export function canBeShared(path: string): boolean {
  return Buffer.byteLength(dirname(path)) <= MAX_FOLDER_BYTES;
}

/** Removes the path of a unix socket, which would keep the next listener from binding. */
export function removePath(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Already removed.
  }
}

/** Returns the file descriptor of a listening server, or `undefined` on systems without one. */
export function descriptorOf(server: Server): number | undefined {
  const fd = handleOf(server)?.fd ?? -1;
  return fd >= 0 ? fd : undefined;
}

/** Returns the system's error if no file descriptor is left, otherwise `undefined`. */
export function whyNoDescriptor(): NodeJS.ErrnoException | undefined {
  try {
    closeSync(openSync(devNull, 'r'));
    return undefined;
  } catch (reason) {
    return reason as NodeJS.ErrnoException;
  }
}

/** Returns Node's internal handle of a server or socket; not in its types. */
export function handleOf(socket: Server | Socket): { readonly fd?: number } | undefined {
  return (Reflect.get(socket, HANDLE) as { readonly fd?: number } | null) ?? undefined;
}

const HANDLE = '_handle';

/**
 * Makes `server` listen on an inherited descriptor. In a worker of a cluster, `Server.listen` would send the
 * descriptor's number to the primary, where it is another one; the internal function called here does not.
 */
export function listenOnDescriptor(server: Server, fd: number, backlog: number): void {
  const listen = Reflect.get(server, LISTEN) as (...where: readonly [null, null, null, number, number]) => void;
  listen.call(server, null, null, null, backlog, fd);
}

/** The internal part of `listen` behind the request to the primary. */
const LISTEN = '_listen2';

/** Returns a handle for an inherited descriptor, to listen on or to send to another process. */
export function inheritedHandle(fd: number): object {
  const socket = new Socket({ fd, readable: false, writable: false });
  const handle = Reflect.get(socket, HANDLE) as object | null | undefined;
  if (handle === undefined || handle === null) throw new Error(`expected a socket as descriptor ${fd}, found none`);
  Reflect.set(socket, HANDLE, null);
  return handle;
}

// Dials use the result, and files are replaced now and then.
const FILE_REMEMBERED_MS = 5_000;
// Paths come from configuration and sources, so there are few.
const MAX_FILES = 100;

const files = new Map<string, { readonly file: string | undefined; readonly until: number }>();

/**
 * Returns the identity of the file at a path, through links, at most five seconds old; `undefined` if there is none.
 */
export function socketFileAt(path: string): string | undefined {
  const now = performance.now();
  const seen = files.get(path);
  if (seen !== undefined && now < seen.until) return seen.file;
  if (files.size >= MAX_FILES) files.clear();
  const file = identityOf(path);
  files.set(path, { file, until: now + FILE_REMEMBERED_MS });
  return file;
}

function identityOf(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch {
    // Missing, or not accessible.
    return undefined;
  }
}
