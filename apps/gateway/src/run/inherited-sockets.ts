import { closeSync } from 'node:fs';
import { formatEndpoint, unixPath } from '@meshgate/core';
import { removePath, withListen } from '@meshgate/core/parts';
import type { Endpoint, HeldSockets, Listening, Transport } from '@meshgate/core';
import type { GatewayConfig } from '../config/config-schema.ts';

/** An inherited socket. */
export interface InheritedSocket {
  /** Owner of the socket: a listener or the admin API. */
  readonly kind: 'listener' | 'admin';
  /** Name of the listener; unused for the admin API. */
  readonly name: string;
  /** Configured address of the socket, with a port. */
  readonly endpoint: Endpoint;
  readonly fd: number;
  /** Its creator, a service manager, owns it and removes the path of a unix socket. */
  readonly isManaged?: boolean;
  /** Other workers accept on the same socket. */
  readonly isShared?: boolean;
}

/** Sockets inherited from another process: a predecessor, the primary, or a service manager. */
export class InheritedSockets {
  #all: readonly InheritedSocket[];
  #unclaimed: readonly InheritedSocket[];
  #isOwner = false;

  constructor(sockets: readonly InheritedSocket[] = []) {
    this.#all = sockets;
    this.#unclaimed = sockets;
  }

  /** Adds a socket that arrived after the start. */
  add(socket: InheritedSocket): void {
    this.#all = [...this.#all, socket];
    this.#unclaimed = [...this.#unclaimed, socket];
  }

  /**
   * Whether this process must remove the path of a unix socket: not while its predecessor may continue, nor when a
   * service manager owns the path.
   */
  ownsPath(endpoint: Endpoint): boolean {
    const socket = this.#all.find((one) => formatEndpoint(one.endpoint) === formatEndpoint(endpoint));
    return socket === undefined || (this.#isOwner && socket.isManaged !== true);
  }

  /** Whether a service manager keeps the socket of `endpoint`. */
  isManaged(endpoint: Endpoint): boolean {
    return this.#all.some((one) => one.isManaged === true && formatEndpoint(one.endpoint) === formatEndpoint(endpoint));
  }

  /** Inherited sockets that no listener has claimed. */
  get unclaimed(): readonly InheritedSocket[] {
    return this.#unclaimed;
  }

  /** Returns the sockets of `endpoint`. The caller owns their descriptors. */
  claim(endpoint: Endpoint): readonly InheritedSocket[] {
    const claimed = this.#unclaimed.filter((socket) => formatEndpoint(socket.endpoint) === formatEndpoint(endpoint));
    this.#unclaimed = this.#unclaimed.filter((socket) => !claimed.includes(socket));
    return claimed;
  }

  /** Returns the sockets of all listeners. The caller owns their descriptors. */
  claimListeners(): readonly InheritedSocket[] {
    const claimed = this.#unclaimed.filter(({ kind }) => kind === 'listener');
    this.#unclaimed = this.#unclaimed.filter(({ kind }) => kind !== 'listener');
    return claimed;
  }

  /** Returns `config` with each port 0 replaced by the port of the inherited socket. */
  withInheritedPorts(config: GatewayConfig): GatewayConfig {
    const portOf = (kind: InheritedSocket['kind'], { host, port }: Endpoint, name?: string): Endpoint => {
      const isIt = (one: InheritedSocket): boolean =>
        one.kind === kind && one.endpoint.host === host && (name === undefined || one.name === name);
      return port === 0 ? (this.#unclaimed.find(isIt)?.endpoint ?? { host, port }) : { host, port };
    };
    return {
      ...config,
      listeners: config.listeners.map((one) => ({ ...one, endpoint: portOf('listener', one.endpoint, one.name) })),
      admin: config.admin.map((one) => ({ ...one, endpoint: portOf('admin', one.endpoint) })),
    };
  }

  /**
   * Takes ownership after all claims: closes the unclaimed sockets, so that no client waits in an accept queue that is
   * not served.
   */
  own(): void {
    this.#isOwner = true;
    closeSockets(this.#unclaimed);
    this.#unclaimed = [];
  }

  /** Closes only the descriptors of the unclaimed sockets, which belong to another process. */
  forgetUnclaimed(): void {
    for (const { fd } of this.#unclaimed) closeSync(fd);
    this.#unclaimed = [];
  }
}

/** Closes the sockets, so that no client can connect to them any more. */
export function closeSockets(sockets: readonly InheritedSocket[]): void {
  for (const { fd, endpoint, isManaged = false } of sockets) {
    closeSync(fd);
    const path = unixPath(endpoint);
    if (path !== undefined && !isManaged) removePath(path);
  }
}

/**
 * Returns the sockets on which worker `slot` of `count` accepts: one of several sockets of an endpoint, or a shared one
 * when there are fewer sockets than workers. Pure.
 */
export function socketsFor(
  slot: number,
  count: number,
  sockets: readonly InheritedSocket[],
): readonly InheritedSocket[] {
  const endpoints = new Set(sockets.map(({ endpoint }) => formatEndpoint(endpoint)));
  return Array.from(endpoints).flatMap((endpoint) => {
    const all = sockets.filter((one) => formatEndpoint(one.endpoint) === endpoint);
    const own = all.filter((_one, index) => index % count === slot);
    const shared = all[slot % all.length];
    if (all.length >= count || shared === undefined) return own;
    return [{ ...shared, isShared: true }];
  });
}

/** Returns `transport` with inherited sockets, where there are any. */
export function inheriting(transport: Transport, inherited: InheritedSockets): Transport {
  return withListen(transport, (listen) => async (at, options, onConnection) => {
    const [first, ...others] = inherited.claim(at);
    if (first === undefined) return listen(at, options, onConnection);
    const open = ({ fd: socket, isShared: sharesSocket = false }: InheritedSocket): Promise<Listening> =>
      listen(at, { ...options, socket, sharesSocket }, onConnection);
    const all = await Promise.all([first, ...others].map(open));
    return together(all, () => inherited.ownsPath(at));
  });
}

/** Combines all sockets of one endpoint; with workers there are several. */
function together(all: readonly Listening[], ownsPath: () => boolean): Listening {
  const [first] = all;
  if (first === undefined) throw new Error('expected a listener, found none');
  return {
    address: first.address,
    keepAlive: (keepAlive) => {
      for (const one of all) one.keepAlive?.(keepAlive);
    },
    close: async () =>
      void (await Promise.all(all.map((one) => (ownsPath() ? undefined : one.held?.release()) ?? one.close()))),
    get held(): HeldSockets {
      return {
        fds: all.flatMap(({ held }) => held?.fds ?? []),
        handles: all.flatMap(({ held }) => held?.handles ?? held?.fds.map(() => undefined) ?? []),
        release: async () => void (await Promise.all(all.map((one) => one.held?.release() ?? one.close()))),
      };
    },
  };
}
