// What one connection can make of a turn, in what does not depend on the processor: calls and bytes.
import { expect, it } from 'vitest';
import { peerListener, rawClient, relay, until } from '@meshgate/testkit';
import { EpollKernel } from '../src/kernel.ts';
import { loadLibc } from '@meshgate/linux';
import type { Libc, SpliceMode } from '@meshgate/linux';
import { DEFAULTS } from '../src/options.ts';
import { transportOver } from '../src/transport.ts';
import { describeWithEpoll, WAYS } from './available.ts';

const MIB = 1024 * 1024;

/** What was asked of the system, and the bytes that went through it. */
interface Work {
  readonly calls: number;
  readonly bytes: number;
}

/** A kernel that notes the work of each share. */
async function watchedKernel(splice: SpliceMode): Promise<{ readonly kernel: EpollKernel; readonly shares: Work[] }> {
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
  const kernel = new EpollKernel(noting, { ...DEFAULTS, splice });
  const shares: Work[] = [];
  const { turns } = kernel;
  const enqueue = turns.enqueue.bind(turns);
  turns.enqueue = (task) =>
    enqueue({
      run: (untilMs) => {
        now = { calls: 0, bytes: 0 };
        const more = task.run(untilMs);
        shares.push(now);
        return more;
      },
    });
  return { kernel, shares };
}

/** Each round of a share takes something in and gives it on. */
const MOST_CALLS = 2 * DEFAULTS.roundsPerTurn;
const MOST_BYTES = MOST_CALLS * DEFAULTS.pipeBytes;

describeWithEpoll('a single connection', () => {
  for (const splice of WAYS) {
    it(`moves no more in its share of a turn than it may, as fast as it comes, both ways (${splice})`, async () => {
      const { kernel, shares } = await watchedKernel(splice);
      await using backend = await peerListener();
      await using proxy = await relay(
        transportOver(() => Promise.resolve(kernel)),
        backend.address,
      );
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

  it('that sends single bytes gets no more calls in its share than one that sends bulk', async () => {
    const { kernel, shares } = await watchedKernel('splice');
    await using backend = await peerListener();
    await using proxy = await relay(
      transportOver(() => Promise.resolve(kernel)),
      backend.address,
    );
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
});
