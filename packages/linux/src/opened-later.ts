import type {
  Connection,
  Dial,
  DialOptions,
  Endpoint,
  Listening,
  ListenOptions,
  ProxyError,
  Transport,
} from '@meshgate/core';
import type { PipePool } from './pipe-pool.ts';

/** The functions of a transport that need `Kernel`, its open system resources. */
export interface OpenedTransport<Kernel> {
  readonly name: string;
  /** Called once, by the first `listen` or `dial`. */
  open(): Promise<Kernel>;
  listen(
    kernel: Kernel,
    at: Endpoint,
    options: ListenOptions,
    onConnection: (connection: Connection) => void,
  ): Listening;
  dial(kernel: Kernel, to: Endpoint, options: DialOptions): Dial;
  /** Nothing can be spliced before the first `listen` or `dial`. */
  readonly splice: Transport['splice'];
  pipes(kernel: Kernel): Pick<PipePool, 'usage'>;
}

/** Creates a transport that opens its system resources at the first use. */
export function openedLater<Kernel>({ name, open, listen, dial, splice, pipes }: OpenedTransport<Kernel>): Transport {
  let kernel: Kernel | undefined;
  let opening: Promise<Kernel> | undefined;
  return {
    name,
    listen: async (at, options, onConnection) => listen(kernel ?? (await opened()), at, options, onConnection),
    dial: (to, options) => (kernel === undefined ? dialOnceOpen(to, options) : dial(kernel, to, options)),
    splice,
    pipes: () => kernel && pipes(kernel).usage,
  };

  function opened(): Promise<Kernel> {
    opening ??= open().then((ours) => {
      kernel = ours;
      return ours;
    });
    return opening;
  }

  /** A dial can be cut before it has started. */
  function dialOnceOpen(to: Endpoint, options: DialOptions): Dial {
    let begun: Dial | undefined;
    let cutBy: ProxyError | undefined;
    return { done: begin(), cut };

    async function begin(): Promise<Connection> {
      const ours = await opened();
      if (cutBy !== undefined) throw cutBy;
      begun = dial(ours, to, options);
      return begun.done;
    }
    function cut(reason: ProxyError): void {
      cutBy ??= reason;
      begun?.cut(reason);
    }
  }
}
