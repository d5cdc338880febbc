import type { Connection, Transport } from '@meshgate/core';
import { dialBy, listenBy, loadLibc, openedLater, SocketConnection, SocketSplice } from '@meshgate/linux';
import { ACCEPTING } from './accepting.ts';
import { CONNECTING } from './connecting.ts';
import type { DirectionOwner } from '@meshgate/linux';
import { EpollFlow } from './flow.ts';
import { EpollKernel } from './kernel.ts';
import { DEFAULTS } from './options.ts';
import type { EpollOptions } from './options.ts';
import { EpollSocket } from './socket.ts';

/**
 * Creates the transport over epoll(7) and splice(2), for Linux on x64 and arm64. Opens no system resources: the first
 * `listen` or `dial` loads koffi, and rejects if that does not work. Run `selfTest` before relying on it.
 */
export function epollTransport(options: EpollOptions = {}): Transport {
  return transportOver(async () => new EpollKernel(await loadLibc(), { ...DEFAULTS, ...options }));
}

/** @param open called once, by the first `listen` or `dial` */
export function transportOver(open: () => Promise<EpollKernel>): Transport {
  return openedLater({
    name: 'epoll',
    open,
    listen: (kernel, at, settings, onConnection) => listenBy(kernel, ACCEPTING, at, settings, onConnection),
    dial: (kernel, to, options) => dialBy(kernel, CONNECTING, to, options),
    splice: (down, up, options) => new SocketSplice(own(down), own(up), options, flow),
    pipes: ({ pipes }) => pipes,
  });
}

function own(connection: Connection): SocketConnection<EpollKernel, EpollSocket> {
  return SocketConnection.own(connection, 'epoll', EpollSocket);
}

function flow(from: EpollSocket, to: EpollSocket, owner: DirectionOwner): EpollFlow {
  return new EpollFlow(from, to, owner);
}
