import cluster from 'node:cluster';
import { closeSync, existsSync, linkSync, openSync, renameSync, statSync, unlinkSync } from 'node:fs';
import net, { Socket } from 'node:net';
import type { Server } from 'node:net';
import { devNull } from 'node:os';
import { dirname, join } from 'node:path';
import { getSystemErrorName } from 'node:util';
import { replacingStale } from './stale-socket.ts';

/**
 * Has `listen` bind `path`, so that closing the server does not take the path away: Node removes the path that it has bound, also when
 * another process goes on with the socket. It is therefore bound under another name in the same folder, and linked to its own.
 *
 * @throws the system's error; `EADDRINUSE` when the path is taken
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

/** A unix socket for other processes to accept on: this one never does. */
export interface SharedSocket {
  /** Its descriptor, which stays this object's. */
  readonly fd: number;
  /** What `process.send` takes for it. */
  readonly handle: object;
  /** Closes it here. The path stays. */
  close(): void;
}

/**
 * Binds `path` for other processes, since a path cannot be bound twice.
 *
 * @throws the system's error; `EADDRINUSE` when the path is taken
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

/** By which Node binds for the workers of a cluster. It keeps it from its types. */
const CREATE_HANDLE = '_createServerHandle';

function bindError(code: string, path: string, cause?: unknown): Error {
  const words = code === 'EADDRINUSE' ? `${code}: address already in use` : code;
  return Object.assign(new Error(`listen ${words} ${path}`, { cause }), { code, syscall: 'listen', address: path });
}

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
  return path !== undefined && (cluster.isWorker || !canBeShared(path));
}

/** Whether there is room in the folder of a unix socket for the other name under which it is bound. */
export function canBeShared(path: string): boolean {
  return Buffer.byteLength(dirname(path)) <= MAX_FOLDER_BYTES;
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

/** What the system says when it has no other descriptor for us; `undefined` when it has one. */
export function whyNoDescriptor(): NodeJS.ErrnoException | undefined {
  try {
    closeSync(openSync(devNull, 'r'));
    return undefined;
  } catch (reason) {
    return reason as NodeJS.ErrnoException;
  }
}

/** What Node listens or connects by. It keeps it from its types. */
export function handleOf(socket: Server | Socket): { readonly fd?: number } | undefined {
  return (Reflect.get(socket, HANDLE) as { readonly fd?: number } | null) ?? undefined;
}

const HANDLE = '_handle';

/**
 * Has `server` listen on an inherited descriptor. In a worker of a cluster Node asks the primary for any descriptor, for whom it is another
 * one, unless it is told that the server has a handle already.
 */
export function listenOnDescriptor(server: Server, fd: number, backlog: number): void {
  const listen = Reflect.get(server, LISTEN) as (...where: readonly [null, null, null, number, number]) => void;
  listen.call(server, null, null, null, backlog, fd);
}

/** The part of `listen` that comes behind the question to the primary. */
const LISTEN = '_listen2';

/** What Node can listen by, and send to another process, of a descriptor that it knows nothing of yet. */
export function inheritedHandle(fd: number): object {
  const socket = new Socket({ fd, readable: false, writable: false });
  const handle = Reflect.get(socket, HANDLE) as object | null | undefined;
  if (handle === undefined || handle === null) throw new Error(`expected a socket as descriptor ${fd}, found none`);
  Reflect.set(socket, HANDLE, null);
  return handle;
}

// A dial asks, and files are replaced now and then.
const FILE_REMEMBERED_MS = 5_000;
// Paths come from configuration and sources, and there are few.
const MAX_FILES = 100;

const files = new Map<string, { readonly file: string | undefined; readonly until: number }>();

/** Which file is at a path, through whatever links, as of five seconds ago at most; `undefined` when there is none. */
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
    // It is not there, or nobody may look.
    return undefined;
  }
}
