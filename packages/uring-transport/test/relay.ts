import { readdirSync, readlinkSync } from 'node:fs';
import type { Endpoint, KeepAlive, ListenOptions, Splice, Transfer, Transport } from '@meshgate/core';

/** Keepalive that plays no part in a test. */
export const KEEP_ALIVE: KeepAlive = { idleMs: 60_000 };

/** Settings of a listener that is not expected to pause. */
export const LISTEN: ListenOptions = {
  backlog: 128,
  keepAlive: KEEP_ALIVE,
  onPause: (paused, reason) => {
    throw new Error(`expected no pause, found paused=${paused}: ${reason.message}`);
  },
};

const LOOPBACK = { host: '127.0.0.1', port: 0 };
const NOTHING = new Uint8Array(0);

/** A transport between clients and one backend, with nothing else in between. */
export interface ReplaySource extends AsyncDisposable {
  readonly address: Endpoint;
  /** The splices so far, in the order in which they began. */
  readonly splices: readonly Splice[];
  /** How the splice numbered `index` ended; waits until there is one. */
  transfer(index: number): Promise<Transfer>;
}

/** Every connection to it is spliced with a new one to `backend`. Disposing of it waits for all splices to end. */
export async function relay(
  transport: Transport,
  backend: Endpoint,
  { at = LOOPBACK, idleTimeoutMs = 60_000 }: { readonly at?: Endpoint; readonly idleTimeoutMs?: number } = {},
): Promise<ReplaySource> {
  const splices: Splice[] = [];
  const waiting: (() => void)[] = [];
  const listening = await transport.listen(at, LISTEN, (down) => {
    transport.dial(backend, { keepAlive: KEEP_ALIVE, timeoutMs: 5_000 }).done.then(
      (up) => {
        splices.push(transport.splice(down, up, { head: NOTHING, idleTimeoutMs }));
        for (const tell of waiting.splice(0)) tell();
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

/** Lets loops of earlier tests, which rest a turn after their last descriptor, give back what they have. */
export async function settled(): Promise<void> {
  for (let turns = 0; turns < 5; turns += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** What this process has open, as the kernel names it, by kind: `pipe`, `socket`, `anon_inode` … */
export function openDescriptors(): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const fd of readdirSync('/proc/self/fd')) {
    const kind = kindOf(fd);
    if (kind !== undefined) counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

function kindOf(fd: string): string | undefined {
  try {
    const target = readlinkSync(`/proc/self/fd/${fd}`);
    return target.startsWith('/') ? 'file' : target.slice(0, target.indexOf(':'));
  } catch {
    // The one that listed the folder is closed by now.
    return undefined;
  }
}

/** Resolves once `holds`, asking again in every turn of the event loop; the test's own time limit bounds it. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}
