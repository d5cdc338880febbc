import type { Connection, Transport } from '@meshgate/core';
import { dialBy, listenBy, loadLibc, openedLater, SocketConnection, SocketSplice } from '@meshgate/linux';
import type { DirectionOwner } from '@meshgate/linux';
import { ACCEPTING } from './accepting.ts';
import { CONNECTING } from './connecting.ts';
import { UringFlow } from './flow.ts';
import { UringKernel } from './kernel.ts';
import { DEFAULTS } from './options.ts';
import type { UringOptions } from './options.ts';
import { UringSocket } from './socket.ts';

/**
 * Creates the transport over io_uring(7), for Linux 6.0 and later on x64 and arm64. Opens no system resources: the
 * first `listen` or `dial` loads koffi, and rejects if that does not work. Run `selfTest` before relying on it.
 */
export function uringTransport(options: UringOptions = {}): Transport {
  return transportOver(async () => new UringKernel(await loadLibc(), { ...DEFAULTS, ...options }));
}

/** @param open called once, by the first `listen` or `dial` */
export function transportOver(open: () => Promise<UringKernel>): Transport {
  return openedLater({
    name: 'uring',
    open,
    listen: (kernel, at, settings, onConnection) => listenBy(kernel, ACCEPTING, at, settings, onConnection),
    dial: (kernel, to, settings) => dialBy(kernel, CONNECTING, to, settings),
    splice: (down, up, settings) => new SocketSplice(own(down), own(up), settings, flow),
    pipes: ({ pipes }) => pipes,
  });
}

function own(connection: Connection): SocketConnection<UringKernel, UringSocket> {
  return SocketConnection.own(connection, 'uring', UringSocket);
}

function flow(from: UringSocket, to: UringSocket, owner: DirectionOwner): UringFlow {
  return new UringFlow(from, to, owner);
}
