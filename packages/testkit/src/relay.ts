import type { Endpoint, KeepAlive, ListenOptions, Splice, SpliceOptions, Transfer, Transport } from '@meshgate/core';
import { LOOPBACK } from './bind.ts';

const KEEP_ALIVE: KeepAlive = { idleMs: 60_000 };

const LISTEN: ListenOptions = {
  backlog: 128,
  keepAlive: KEEP_ALIVE,
  onPause: (paused, reason) => {
    throw new Error(`expected no pause, found paused=${paused}: ${reason.message}`);
  },
};

/** Address and timeouts of a {@link relay}. */
export interface RelayOptions extends Partial<Omit<SpliceOptions, 'head'>> {
  /** A free port of 127.0.0.1 when absent. */
  readonly at?: Endpoint;
  /** TCP keepalive of both sides. When absent, it does not trigger within a test. */
  readonly keepAlive?: KeepAlive;
}

const NOTHING = new Uint8Array(0);

/** A transport that connects clients with one backend, without anything in between. */
export interface TcpRelay extends AsyncDisposable {
  readonly address: Endpoint;
  /** The splices so far, in order of their start. */
  readonly splices: readonly Splice[];
  /** Resolves with the result of splice `index`, even if it has not started yet. */
  transfer(index: number): Promise<Transfer>;
}

/**
 * Starts a relay that splices every accepted connection with a new one to `backend`. Disposing of it waits for all
 * splices to end.
 */
export async function relay(
  transport: Transport,
  backend: Endpoint,
  { at = LOOPBACK, keepAlive = KEEP_ALIVE, ...limits }: RelayOptions = {},
): Promise<TcpRelay> {
  const splices: Splice[] = [];
  const waiting: (() => void)[] = [];
  const listening = await transport.listen(at, { ...LISTEN, keepAlive }, (down) => {
    transport.dial(backend, { keepAlive, timeoutMs: 5_000 }).done.then(
      (up) => {
        splices.push(transport.splice(down, up, { head: NOTHING, idleTimeoutMs: 60_000, ...limits }));
        for (const notify of waiting.splice(0)) notify();
      },
      () => down.destroy(),
    );
  });
  return { address: listening.address, splices, transfer, [Symbol.asyncDispose]: dispose };

  async function transfer(index: number): Promise<Transfer> {
    while (splices.length <= index) await new Promise<void>((resolve) => waiting.push(resolve));
    const splice = splices[index];
    if (splice === undefined) throw new Error(`expected splice ${index}, found ${splices.length}`);
    return splice.done;
  }

  async function dispose(): Promise<void> {
    await listening.close();
    await Promise.all(splices.map(({ done }) => done));
  }
}
