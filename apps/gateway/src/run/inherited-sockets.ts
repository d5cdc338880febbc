import { closeSync } from 'node:fs';
import { formatEndpoint, unixPath } from '@meshgate/core';
import { removePath, withListen } from '@meshgate/core/parts';
import type { Endpoint, HeldSockets, Listening, Transport } from '@meshgate/core';
import type { GatewayConfig } from '../config/config-schema.ts';

/** An inherited socket. */
export interface InheritedSocket {
  /** Of a listener, or of the admin API. */
  readonly kind: 'listener' | 'admin';
  /** Name of the listener; unused for the admin API. */
  readonly name: string;
  /** Its address as configured; with a port. */
  readonly endpoint: Endpoint;
  readonly fd: number;
  /** Its creator, a service manager, owns it and removes the path of a unix socket. */
  readonly isManaged?: boolean;
  /** Other workers accept on it as well. */
  readonly isShared?: boolean;
}

/** Sockets inherited from another process: a predecessor, its primary, or a service manager. */
export class InheritedSockets {
  #all: readonly InheritedSocket[];
  #unclaimed: readonly InheritedSocket[];
  #isOwner = false;

  constructor(sockets: readonly InheritedSocket[] = []) {
    this.#all = sockets;
    this.#unclaimed = sockets;
  }

  /** Adds a socket that arrived later. */
  add(socket: InheritedSocket): void {
    this.#all = [...this.#all, socket];
    this.#unclaimed = [...this.#unclaimed, socket];
  }

  /**
   * Whether this process has to remove the path of a unix socket: not while its predecessor may continue, nor when a
   * service manager owns it.
   */
  ownsPath(endpoint: Endpoint): boolean {
    const socket = this.#all.find((one) => formatEndpoint(one.endpoint) === formatEndpoint(endpoint));
    return socket === undefined || (this.#isOwner && socket.isManaged !== true);
  }

  /** Whether a service manager keeps the socket of `endpoint`. */
  isManaged(endpoint: Endpoint): boolean {
    return this.#all.some((one) => one.isManaged === true && formatEndpoint(one.endpoint) === formatEndpoint(endpoint));
  }

  /** Unclaimed sockets. */
  get unclaimed(): readonly InheritedSocket[] {
    return this.#unclaimed;
  }

  /** The sockets of `endpoint`. The caller owns their descriptors. */
  claim(endpoint: Endpoint): readonly InheritedSocket[] {
    const claimed = this.#unclaimed.filter((socket) => formatEndpoint(socket.endpoint) === formatEndpoint(endpoint));
    this.#unclaimed = this.#unclaimed.filter((socket) => !claimed.includes(socket));
    return claimed;
  }

  /** The sockets of all listeners. The caller owns their descriptors. */
  claimListeners(): readonly InheritedSocket[] {
    const claimed = this.#unclaimed.filter(({ kind }) => kind === 'listener');
    this.#unclaimed = this.#unclaimed.filter(({ kind }) => kind !== 'listener');
    return claimed;
  }

  /** `config` with each port 0 replaced by that of the inherited socket. */
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

  /** This process owns them, and all claims are made: closes the rest, so that no client waits where nothing accepts. */
  own(): void {
    this.#isOwner = true;
    closeSockets(this.#unclaimed);
    this.#unclaimed = [];
  }

  /** The rest belongs to another process: closes only the descriptors. */
  forgetUnclaimed(): void {
    for (const { fd } of this.#unclaimed) closeSync(fd);
    this.#unclaimed = [];
  }
}

/** No client can connect to them any more. */
export function closeSockets(sockets: readonly InheritedSocket[]): void {
  for (const { fd, endpoint, isManaged = false } of sockets) {
    closeSync(fd);
    const path = unixPath(endpoint);
    if (path !== undefined && !isManaged) removePath(path);
  }
}

/**
 * What worker `slot` of `count` accepts on: its own socket of several for one endpoint, or a shared one when there are
 * fewer sockets than workers. Pure.
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

/** `transport` with inherited sockets where there are any. */
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

/** All sockets of one endpoint: several with workers. */
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
