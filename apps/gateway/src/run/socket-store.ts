import { unixPath } from '@meshgate/core';
import type { InheritedSocket } from './inherited-sockets.ts';
import type { ServiceManager } from './service-manager.ts';

/** Prefix of the names of stored sockets, which no socket unit has. */
const PREFIX = 'meshgate';
/** sd_pid_notify_with_fds(3), `FDNAME`. */
const MAX_NAME_CHARS = 255;

/** Returns the name of a socket in the service manager's store; `undefined` for a socket that cannot be stored. */
function storedName({
  name,
  endpoint: { host, port },
}: Pick<InheritedSocket, 'name' | 'endpoint'>): string | undefined {
  const stored = [PREFIX, name, host, String(port)].map(encodeURIComponent).join('@');
  return stored.length > MAX_NAME_CHARS ? undefined : stored;
}

/** Returns the socket with a stored name, without its descriptor; `undefined` for a name that Meshgate did not give. */
export function storedSocket(stored: string): Omit<InheritedSocket, 'fd'> | undefined {
  const [prefix, name, host, port] = stored.split('@').map(decodeURIComponent);
  if (prefix !== PREFIX || name === undefined || host === undefined) return undefined;
  return { kind: 'listener', name, endpoint: { host, port: Number(port) } };
}

/**
 * Keeps the listening sockets in a service manager's store. After an exit or a crash, the next process inherits them,
 * and clients wait in the accept queue in the meantime.
 */
export class SocketStore {
  readonly #manager: Pick<ServiceManager, 'store' | 'discard'>;
  #stored: ReadonlySet<string>;

  /** @param inherited sockets from the start of the process, some of which may be stored */
  constructor(manager: Pick<ServiceManager, 'store' | 'discard'>, inherited: readonly InheritedSocket[]) {
    this.#manager = manager;
    this.#stored = new Set(inherited.flatMap((socket) => (isStorable(socket) ? (storedName(socket) ?? []) : [])));
  }

  /**
   * Stores exactly these from now on: only TCP sockets, since the path of a unix socket is removed with its process,
   * and only one per address, since the socket of a worker that dies must close with it.
   */
  keep(sockets: readonly InheritedSocket[]): void {
    const byName = new Map<string, number[]>();
    for (const socket of sockets.filter(isStorable)) {
      const name = storedName(socket);
      if (name !== undefined) byName.set(name, [...(byName.get(name) ?? []), socket.fd]);
    }
    const kept = new Map(
      Array.from(byName).flatMap(([name, [fd, ...more]]) => (fd === undefined || more.length > 0 ? [] : [[name, fd]])),
    );
    for (const name of this.#stored) if (!kept.has(name)) this.#manager.discard(name);
    for (const [name, fd] of kept) if (!this.#stored.has(name)) this.#manager.store(name, fd);
    this.#stored = new Set(kept.keys());
  }
}

function isStorable({ kind, endpoint, isManaged = false }: InheritedSocket): boolean {
  return kind === 'listener' && !isManaged && unixPath(endpoint) === undefined;
}
