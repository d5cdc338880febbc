import type { Transport } from '@meshgate/core';
import { loadLibc, openedLater } from '@meshgate/linux';
import { UringConnection } from './connection.ts';
import { dial } from './dial.ts';
import { Kernel } from './kernel.ts';
import { listen } from './listen.ts';
import { DEFAULTS } from './options.ts';
import type { UringOptions } from './options.ts';
import { UringSplice } from './splice.ts';

/**
 * The transport over io_uring(7), for Linux 6.0 and later on x64 and arm64. Making one touches nothing of the system: koffi is loaded by
 * the first `listen` or `dial`, which reject where it does not work. Ask `selfTest` before relying on it.
 */
export function uringTransport(options: UringOptions = {}): Transport {
  return openedLater({
    name: 'uring',
    open: async () => new Kernel(await loadLibc(), { ...DEFAULTS, ...options }),
    listen,
    dial,
    splice: (down, up, settings) => {
      const ours = UringConnection.own(down);
      return new UringSplice(ours.kernel, ours, UringConnection.own(up), settings);
    },
  });
}
