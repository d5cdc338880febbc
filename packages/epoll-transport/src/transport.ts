import type { Transport } from '@meshgate/core';
import { loadLibc, openedLater } from '@meshgate/linux';
import { EpollConnection } from './connection.ts';
import { dial } from './dial.ts';
import { Kernel } from './kernel.ts';
import { listen } from './listen.ts';
import { DEFAULTS } from './options.ts';
import type { EpollOptions } from './options.ts';
import { EpollSplice } from './splice.ts';

/**
 * The transport over epoll(7) and splice(2), for Linux on x64 and arm64. Making one touches nothing of the system: koffi is
 * loaded by the first `listen` or `dial`, which reject where it does not work. Ask `selfTest` before relying on it.
 */
export function epollTransport(options: EpollOptions = {}): Transport {
  return transportOver(async () => new Kernel(await loadLibc(), { ...DEFAULTS, ...options }));
}

/** @param open called once, by the first `listen` or `dial` */
export function transportOver(open: () => Promise<Kernel>): Transport {
  return openedLater({
    name: 'epoll',
    open,
    listen,
    dial,
    splice: (down, up, options) => {
      const ours = EpollConnection.own(down);
      return new EpollSplice(ours.kernel, ours, EpollConnection.own(up), options);
    },
  });
}
