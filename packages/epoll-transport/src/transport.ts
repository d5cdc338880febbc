import type { Connection, Dial, DialOptions, Endpoint, ProxyError, Transport } from '@meshgate/core';
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
  return transportOver(async () => new Kernel(await loadLibc(), { ...DEFAULTS, ...options }));
}

/** @param open called once, by the first `listen` or `dial` */
export function transportOver(open: () => Promise<Kernel>): Transport {
  let kernel: Kernel | undefined;
  let opening: Promise<Kernel> | undefined;
  return {
    name: 'epoll',
    listen: async (at, options, onConnection) => listen(kernel ?? (await opened()), at, options, onConnection),
    dial: (to, options) => (kernel === undefined ? dialOnceOpen(opened(), to, options) : dial(kernel, to, options)),
    splice: (down, up, options) => {
      const ours = EpollConnection.own(down);
      return new EpollSplice(ours.kernel, ours, EpollConnection.own(up), options);
    },
  };

  function opened(): Promise<Kernel> {
    opening ??= open().then((ours) => {
      kernel = ours;
      return ours;
    });
    return opening;
  }
}

/** A dial that nobody has begun yet: it may be cut before it is. */
function dialOnceOpen(opening: Promise<Kernel>, to: Endpoint, options: DialOptions): Dial {
  let begun: Dial | undefined;
  let cutBy: ProxyError | undefined;
  return { done: begin(), cut };

  async function begin(): Promise<Connection> {
    const kernel = await opening;
    if (cutBy !== undefined) throw cutBy;
    begun = dial(kernel, to, options);
    return begun.done;
  }
  function cut(reason: ProxyError): void {
    cutBy ??= reason;
    begun?.cut(reason);
  }
}
