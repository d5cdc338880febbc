import { unixPath } from '@meshgate/core';
import type { InheritedSocket } from './inherited-sockets.ts';
import type { ServiceManager } from './service-manager.ts';

/** With this begin the names of sockets that this program has stored, as no socket unit is called. */
const PREFIX = 'meshgate';
/** sd_pid_notify_with_fds(3), `FDNAME`. */
const MAX_NAME_CHARS = 255;

/** By what a service manager knows a socket; `undefined` for one that it cannot keep. */
function storedName({
  name,
  endpoint: { host, port },
}: Pick<InheritedSocket, 'name' | 'endpoint'>): string | undefined {
  const stored = [PREFIX, name, host, String(port)].map(encodeURIComponent).join('@');
  return stored.length > MAX_NAME_CHARS ? undefined : stored;
}

/** The socket of which that is the name, without its descriptor; `undefined` when somebody else has given the name. */
export function storedSocket(stored: string): Omit<InheritedSocket, 'fd'> | undefined {
  const [prefix, name, host, port] = stored.split('@').map(decodeURIComponent);
  if (prefix !== PREFIX || name === undefined || host === undefined) return undefined;
  return { kind: 'listener', name, endpoint: { host, port: Number(port) } };
}

/**
 * The listening sockets, as a service manager keeps them: a process that takes the place of one that has ended, or has crashed, goes on with
 * them, and clients wait in the kernel's queue meanwhile.
 */
export class SocketStore {
  readonly #manager: Pick<ServiceManager, 'store' | 'discard'>;
  #stored: ReadonlySet<string>;

  /** @param inherited what the process was started with: some of it may be stored */
  constructor(manager: Pick<ServiceManager, 'store' | 'discard'>, inherited: readonly InheritedSocket[]) {
    this.#manager = manager;
    this.#stored = new Set(inherited.flatMap((socket) => (isStorable(socket) ? (storedName(socket) ?? []) : [])));
  }

  /**
   * From now on these are kept, and no others: TCP sockets, since the path of a unix socket ends with its process, and of several sockets
   * of one address none, since a worker that dies must take its own with it.
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
