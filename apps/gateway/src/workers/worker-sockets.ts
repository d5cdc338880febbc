import { formatEndpoint, unixPath } from '@meshgate/core';
import type { ListenAddress } from '@meshgate/core';
import { removePath, sharedPath } from '@meshgate/core/parts';
import type { DrainReason, SharedSocket } from '@meshgate/core/parts';
import { closeSockets, socketsFor } from '../run/inherited-sockets.ts';
import type { InheritedSocket } from '../run/inherited-sockets.ts';

/** A unix socket that was opened for running workers. */
export interface OpenedSocket extends InheritedSocket {
  readonly shared: SharedSocket;
}

/**
 * The sockets that workers inherit: those that this process has inherited, and unix sockets that it binds, since a path
 * cannot be bound by each worker.
 */
export class WorkerSockets {
  #inherited: readonly InheritedSocket[];
  #opened: readonly OpenedSocket[] = [];

  constructor(inherited: readonly InheritedSocket[]) {
    this.#inherited = inherited;
  }

  /** Returns the sockets on which worker `slot` of `count` accepts. */
  for(slot: number, count: number): readonly InheritedSocket[] {
    return socketsFor(slot, count, [...this.#inherited, ...this.#opened]);
  }

  /**
   * Binds the unix sockets among `listeners` that are not open yet, all or none.
   *
   * @returns the new sockets, which are used once they are added
   * @throws the system's error
   */
  async open(listeners: readonly ListenAddress[]): Promise<readonly OpenedSocket[]> {
    const opened: OpenedSocket[] = [];
    for (const { name, endpoint } of listeners) {
      const path = unixPath(endpoint);
      if (path === undefined || this.#has({ name, endpoint })) continue;
      try {
        const shared = await sharedPath(path);
        opened.push({ kind: 'listener', name, endpoint, fd: shared.fd, shared });
      } catch (reason) {
        closeAll(opened);
        throw reason;
      }
    }
    return opened;
  }

  add(opened: readonly OpenedSocket[]): void {
    this.#opened = [...this.#opened, ...opened];
  }

  /** Closes the sockets of removed listeners. */
  keepOnly(listeners: readonly ListenAddress[]): void {
    const isUnused = (socket: InheritedSocket): boolean => listeners.some((one) => isOf(one, socket));
    closeSockets(this.#inherited.filter((socket) => !isUnused(socket)));
    closeAll(this.#opened.filter((socket) => !isUnused(socket)));
    this.#inherited = this.#inherited.filter(isUnused);
    this.#opened = this.#opened.filter(isUnused);
  }

  /** Closes all sockets. @param why after a handover, the successor keeps the paths of unix sockets */
  close(why: DrainReason): void {
    closeSockets(this.#inherited.map((socket) => ({ ...socket, ...(why === 'handover' && { isManaged: true }) })));
    closeAll(this.#opened, why);
    this.#inherited = [];
    this.#opened = [];
  }

  /** Closes the sockets that this process has bound, which no other process inherits. */
  closeOpened(): void {
    closeAll(this.#opened);
    this.#opened = [];
  }

  #has(at: ListenAddress): boolean {
    return [...this.#inherited, ...this.#opened].some((socket) => isOf(at, socket));
  }
}

/** Matches by address, whatever the listener's name; port 0 by name. */
function isOf({ name, endpoint }: ListenAddress, socket: InheritedSocket): boolean {
  if (endpoint.port === 0 && unixPath(endpoint) === undefined)
    return name === socket.name && endpoint.host === socket.endpoint.host;
  return formatEndpoint(endpoint) === formatEndpoint(socket.endpoint);
}

/** Closes sockets, so that no client can connect to them any more, unless a successor inherits them. */
export function closeAll(opened: readonly OpenedSocket[], why: DrainReason = 'leaving'): void {
  for (const { shared, endpoint } of opened) {
    shared.close();
    const path = unixPath(endpoint);
    if (path !== undefined && why === 'leaving') removePath(path);
  }
}
