import { setTimeout as pause } from 'node:timers/promises';
import { expect } from '../../runner.ts';
import { ProxyError } from '@meshgate/core';
import type { Peer } from '../../peer.ts';
import { expectSameBytes, payload, writeUntilStalled } from './bytes.ts';
import type { TransportClaim } from './claims.ts';

export function backpressureClaims(claim: TransportClaim): void {
  for (const [from, to] of [
    ['client', 'backend'],
    ['backend', 'client'],
  ] as const) {
    claim(`applies backpressure to the ${from} when the ${to} is slow, and loses nothing`, async (wiring) => {
      const spliced = await wiring.spliced();
      spliced[to].pause();
      const { sent, pending } = await writeUntilStalled(spliced[from]);
      spliced[to].resume();
      await pending;
      spliced[from].end();
      expectSameBytes(await spliced[to].receiveAll(), sent);
      spliced[to].end();
      expect((await spliced.splice.done).error).toBeUndefined();
    });
  }

  claim('carries one direction while the other is blocked', async (wiring) => {
    const { client, backend, splice } = await wiring.spliced();
    backend.pause();
    const { sent } = await writeUntilStalled(client);
    const down = payload(3_000_000);
    await backend.send(down);
    expectSameBytes(await client.receive(down.length), down);
    backend.resume();
    expectSameBytes(await backend.receive(sent.length), sent);
    expect(splice).toMatchObject({ bytesUp: sent.length, bytesDown: down.length });
  });

  claim('can be cut while it is blocked', async (wiring) => {
    const { client, backend, splice } = await wiring.spliced();
    backend.pause();
    const { sent } = await writeUntilStalled(client);
    const reason = new ProxyError('CLOSED_BY_DRAIN', 'the grace is over');
    splice.cut(reason);
    const transfer = await splice.done;
    expect(transfer.error).toBe(reason);
    expect(transfer.bytesUp).toBeLessThan(sent.length);
  });
}

export function idleClaims(claim: TransportClaim): void {
  claim('ends with IDLE_TIMEOUT after the idle time, and not before', async (wiring) => {
    const { client, backend, splice } = await wiring.spliced({ idleTimeoutMs: IDLE_MS, halfOpen: false });
    const transfer = await splice.done;
    expect(performance.now() - splice.lastByteAt).toBeGreaterThan(IDLE_MS - CLOCK_MS);
    expect(transfer.error).toMatchObject({ name: 'ProxyError', code: 'IDLE_TIMEOUT' });
    expect([await client.closed, await backend.closed]).toEqual([FINISHED, FINISHED]);
  });

  for (const talker of ['client', 'backend'] as const) {
    claim(`continues as long as only the ${talker} sends something`, async (wiring) => {
      const { splice, ...peers } = await wiring.spliced({ idleTimeoutMs: IDLE_MS });
      const lastSentAt = await talk(peers[talker], 3 * IDLE_MS);
      expect((await splice.done).error).toMatchObject({ code: 'IDLE_TIMEOUT' });
      expect(performance.now() - lastSentAt).toBeGreaterThan(IDLE_MS - CLOCK_MS);
    });
  }

  claim('ends with IDLE_TIMEOUT, too, when one side has finished and the other is silent', async (wiring) => {
    const { client, backend, splice } = await wiring.spliced({ idleTimeoutMs: IDLE_MS });
    client.end();
    await backend.finished;
    expect((await splice.done).error).toMatchObject({ code: 'IDLE_TIMEOUT' });
  });

  claim(
    'ends with HALF_CLOSE_TIMEOUT once one side has finished and the other is silent for that time',
    async (wiring) => {
      for (const first of ['client', 'backend'] as const) {
        const limits = { idleTimeoutMs: 600_000, halfCloseTimeoutMs: IDLE_MS };
        const { splice, ...peers } = await wiring.spliced(limits);
        const endedAt = performance.now();
        peers[first].end();
        expect((await splice.done).error).toMatchObject({ name: 'ProxyError', code: 'HALF_CLOSE_TIMEOUT' });
        expect(performance.now() - endedAt).toBeGreaterThan(IDLE_MS - CLOCK_MS);
      }
    },
  );

  claim('continues after one side has finished as long as the other sends something', async (wiring) => {
    const limits = { idleTimeoutMs: 600_000, halfCloseTimeoutMs: IDLE_MS };
    const { client, backend, splice } = await wiring.spliced(limits);
    client.end();
    await backend.finished;
    const lastSentAt = await talk(backend, 3 * IDLE_MS);
    expect((await splice.done).error).toMatchObject({ code: 'HALF_CLOSE_TIMEOUT' });
    expect(performance.now() - lastSentAt).toBeGreaterThan(IDLE_MS - CLOCK_MS);
  });

  claim('does not time out when the idle timeout is Infinity', async (wiring) => {
    const { client, backend, splice } = await wiring.spliced({ idleTimeoutMs: Infinity });
    await pause(TALK_EVERY_MS);
    await client.send('still here');
    expect((await backend.receive(10)).toString()).toBe('still here');
    client.end();
    backend.end();
    expect((await splice.done).error).toBeUndefined();
  });

  claim('ends with IDLE_TIMEOUT, too, when a side stops reading', async (wiring) => {
    const { client, backend, splice } = await wiring.spliced({ idleTimeoutMs: 5 * IDLE_MS });
    backend.pause();
    await writeUntilStalled(client);
    expect((await splice.done).error).toMatchObject({ code: 'IDLE_TIMEOUT' });
  });
}

const FINISHED = { kind: 'finished' };
// Short enough to wait for; a busy machine may take ten times as long.
const IDLE_MS = 300;
const TALK_EVERY_MS = 30;
// Timers use whole milliseconds of a clock that was read slightly earlier.
const CLOCK_MS = 5;

/** Sends a byte now and then. @returns the time at which the last byte was sent */
async function talk(peer: Peer, forMs: number): Promise<number> {
  let lastSentAt = performance.now();
  for (const endAt = lastSentAt + forMs; lastSentAt < endAt;) {
    await pause(TALK_EVERY_MS);
    lastSentAt = performance.now();
    await peer.send('.');
  }
  return lastSentAt;
}
