import type { Transport } from '@meshgate/core';
import { EpollConnection } from './connection.ts';
import { dial } from './dial.ts';
import { Kernel } from './kernel.ts';
import { loadLibc } from './libc.ts';
import { listen } from './listen.ts';
import { DEFAULTS } from './options.ts';
import type { EpollOptions } from './options.ts';
import { EpollSplice } from './splice.ts';

/**
 * The transport over epoll(7) and splice(2), for Linux on x64 and arm64. Making one touches nothing of the system: koffi is
 * loaded by the first `listen` or `dial`, which reject where it does not work. Ask `selfTest` before relying on it.
 */
export function epollTransport(options: EpollOptions = {}): Transport {
  let kernel: Kernel | undefined;
  let loading: Promise<Kernel> | undefined;
  return {
    name: 'epoll',
    listen: async (at, listenOptions, onConnection) =>
      listen(kernel ?? (await load()), at, listenOptions, onConnection),
    dial: (to, dialOptions, signal) =>
      kernel === undefined
        ? load().then((loaded) => dial(loaded, to, dialOptions, signal))
        : dial(kernel, to, dialOptions, signal),
    splice: (down, up, spliceOptions) => {
      const ours = EpollConnection.own(down);
      return new EpollSplice(ours.kernel, ours, EpollConnection.own(up), spliceOptions);
    },
  };

  function load(): Promise<Kernel> {
    loading ??= loadLibc().then((libc) => {
      kernel = new Kernel(libc, { ...DEFAULTS, ...options });
      return kernel;
    });
    return loading;
  }
}
