import { BULK_DEFAULTS, loadLibc } from '@meshgate/linux';
import type { Libc, SpliceMode, TurnLoop } from '@meshgate/linux';
import type { Transport } from '@meshgate/core';
import { peerListener, rawClient, relay, until } from '@meshgate/testkit';
import { expect, it } from 'vitest';
import type { OpensKernel } from './kernel.ts';

const MIB = 1024 * 1024;

/** System calls, and the bytes that they moved. */
interface Work {
  readonly calls: number;
  readonly bytes: number;
}

/** A transport, and the work in each share of its turns so far. */
interface WatchedTransport {
  readonly transport: Transport;
  readonly shares: readonly Work[];
}

async function watchedTransport(open: OpensKernel, splice: SpliceMode): Promise<WatchedTransport> {
  const libc = await loadLibc();
  let now: Work = { calls: 0, bytes: 0 };
  const noted = (moved: number): number => {
    now = { calls: now.calls + 1, bytes: now.bytes + Math.max(0, moved) };
    return moved;
  };
  const noting: Libc = {
    ...libc,
    recv: (...values) => noted(libc.recv(...values)),
    send: (...values) => noted(libc.send(...values)),
    splice: (...values) => noted(libc.splice(...values)),
  };
  const shares: Work[] = [];
  const { turns, transport } = open(noting, splice);
  noteShares(
    turns,
    () => (now = { calls: 0, bytes: 0 }),
    () => shares.push(now),
  );
  return { transport, shares };
}

function noteShares(turns: TurnLoop, onBegin: () => void, onEnd: () => void): void {
  const enqueue = turns.enqueue.bind(turns);
  turns.enqueue = (task) =>
    enqueue({
      run: (untilMs) => {
        onBegin();
        const more = task.run(untilMs);
        onEnd();
        return more;
      },
    });
}

/** In each round of a share bytes are received and sent. */
const MOST_CALLS = 2 * BULK_DEFAULTS.roundsPerTurn;
const MOST_BYTES = MOST_CALLS * BULK_DEFAULTS.pipeBytes;

/**
 * The most that one connection can do in a turn, in calls and bytes, which do not depend on the CPU.
 *
 * @param ways that carry in shares, without requests to the kernel
 */
export function claimBoundedShares(open: OpensKernel, variants: readonly SpliceMode[]): void {
  for (const splice of variants) {
    it(`moves no more in its share of a turn than allowed, as fast as it arrives, both ways (${splice})`, async () => {
      const { transport, shares } = await watchedTransport(open, splice);
      await using backend = await peerListener();
      await using proxy = await relay(transport, backend.address);
      await using client = await rawClient(proxy.address);
      await using server = await backend.accept();
      const flood = new Uint8Array(32 * MIB);
      const sent = [client, server].map((peer) => peer.send(flood).then(() => peer.end()));
      const [up, down] = await Promise.all([server.receiveAll(), client.receiveAll(), ...sent]);
      expect([up?.length, down?.length]).toEqual([flood.length, flood.length]);
      expect(shares.length).toBeGreaterThan(2);
      expect(Math.max(...shares.map(({ calls }) => calls))).toBeLessThanOrEqual(MOST_CALLS);
      expect(Math.max(...shares.map(({ bytes }) => bytes))).toBeLessThanOrEqual(MOST_BYTES);
    });
  }
}

/** The same for small messages, where they are carried in shares. */
export function claimBoundedSharesOfBytes(open: OpensKernel): void {
  it('that sends single bytes gets no more calls in its share than one that sends bulk', async () => {
    const { transport, shares } = await watchedTransport(open, 'splice');
    await using backend = await peerListener();
    await using proxy = await relay(transport, backend.address);
    await using client = await rawClient(proxy.address);
    await using server = await backend.accept();
    const flood = Array.from({ length: 5_000 }, () => client.send('x'));
    await Promise.all(flood);
    client.end();
    server.end();
    expect((await server.receiveAll()).length).toBe(flood.length);
    await until(() => shares.length > 0);
    expect(Math.max(...shares.map(({ calls }) => calls))).toBeLessThanOrEqual(MOST_CALLS);
  });
}
