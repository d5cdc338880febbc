import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect } from 'vitest';
import { ProxyError } from '@meshgate/core';
import type { Peer } from '../../peer.ts';
import { peerListener } from '../../listener.ts';
import { Random } from '../random.ts';
import { openDescriptors, untilDescriptors } from '../resources.ts';
import { expectSameBytes, payload, readBytes, writeUntilStalled } from './bytes.ts';
import type { Claim } from './claims.ts';
import type { Accepting, Spliced, Wiring } from './wiring.ts';

export function describeSplicing(claim: Claim): void {
  describe('a splice', () => {
    carryingClaims(claim);
    halfCloseClaims(claim);
    endingClaims(claim);
    backpressureClaims(claim);
    idleClaims(claim);
    crowdClaims(claim);
  });
}

function carryingClaims(claim: Claim): void {
  claim('carries all bytes both ways, whatever the pieces, and counts them', async (wiring) => {
    const { client, backend, splice } = await wiring.spliced();
    const random = new Random(3);
    const [up, down] = [payload(700_000), payload(1_100_000)];
    const sent = [client.sendInPieces(random.pieces(up, 20_000)), backend.sendInPieces(random.pieces(down, 60_000))];
    await Promise.all(sent);
    client.end();
    backend.end();
    expectSameBytes(await backend.receiveAll(), up);
    expectSameBytes(await client.receiveAll(), down);
    const transfer = await splice.done;
    expect(transfer).toMatchObject({ bytesUp: up.length, bytesDown: down.length });
    expect(transfer.error).toBeUndefined();
  });

  claim('sends the head before anything else, and counts it', async (wiring) => {
    const [head, rest] = [payload(20_000), payload(100_000)];
    const { client, backend, splice } = await wiring.spliced({ head: head.slice() });
    await client.send(rest);
    client.end();
    expectSameBytes(await backend.receiveAll(), Buffer.concat([head, rest]));
    backend.end();
    expect(await splice.done).toMatchObject({ bytesUp: head.length + rest.length, bytesDown: 0 });
  });

  claim('carries what had arrived before it began, the end included', async (wiring) => {
    const down = await wiring.accepted({ halfOpen: true });
    const up = await wiring.dialled({ halfOpen: true });
    const [early, answer] = [payload(150_000), payload(30_000)];
    await down.peer.send(early.subarray(0, 10));
    const head = await readBytes(down.connection, 10);
    await Promise.all([down.peer.send(early.subarray(10)), up.peer.send(answer)]);
    down.peer.end();
    up.peer.end();
    await new Promise((resolve) => setImmediate(resolve));
    const splice = wiring.splice(down.connection, up.connection, { head });
    expectSameBytes(await up.peer.receiveAll(), early);
    expectSameBytes(await down.peer.receiveAll(), answer);
    expect(await splice.done).toMatchObject({ bytesUp: early.length, bytesDown: answer.length });
  });

  claim('carries messages of one byte to and fro', async (wiring) => {
    const { client, backend, splice } = await wiring.spliced();
    for (const byte of payload(200)) {
      await client.send(Uint8Array.of(byte));
      await backend.send(await backend.receive(1));
      expect((await client.receive(1))[0]).toBe(byte);
    }
    client.end();
    backend.end();
    expect(await splice.done).toMatchObject({ bytesUp: 200, bytesDown: 200 });
  });

  claim('shows while it goes on what it has moved, and when', async (wiring) => {
    const { client, backend, splice } = await wiring.spliced({ head: payload(7) });
    const start = performance.now();
    expect(splice.lastByteAt).toBeLessThanOrEqual(start);
    await client.send(payload(1_000));
    await backend.receive(1_007);
    await backend.send(payload(50));
    await client.receive(50);
    expect(splice).toMatchObject({ bytesUp: 1_007, bytesDown: 50 });
    expect(splice.lastByteAt).toBeGreaterThanOrEqual(start - CLOCK_MS);
    client.end();
    backend.end();
    const { firstByteAt = 0 } = await splice.done;
    expect(firstByteAt).toBeGreaterThanOrEqual(start - CLOCK_MS);
    expect(firstByteAt).toBeLessThanOrEqual(performance.now());
  });
}

function halfCloseClaims(claim: Claim): void {
  for (const [first, second] of [
    ['client', 'backend'],
    ['backend', 'client'],
  ] as const) {
    claim(`passes the end on when the ${first} has finished, and goes on until the ${second} has`, async (wiring) => {
      const spliced = await wiring.spliced();
      const [early, late] = [payload(10_000), payload(400_000)];
      await spliced[first].send(early);
      spliced[first].end();
      expectSameBytes(await spliced[second].receiveAll(), early);
      await spliced[second].send(late);
      spliced[second].end();
      expectSameBytes(await spliced[first].receiveAll(), late);
      expect((await spliced.splice.done).error).toBeUndefined();
      expect([await spliced.client.closed, await spliced.backend.closed]).toEqual([FINISHED, FINISHED]);
    });
  }

  claim('delivers megabytes that are followed at once by the end', async (wiring) => {
    const { client, backend, splice } = await wiring.spliced();
    const sent = payload(6_000_000);
    client.send(sent).catch(() => undefined);
    client.end();
    backend.end();
    expectSameBytes(await backend.receiveAll(), sent);
    expect(await splice.done).toMatchObject({ bytesUp: sent.length });
  });

  claim('ends well when both sides finish at once', async (wiring) => {
    const { client, backend, splice } = await wiring.spliced();
    client.end();
    backend.end();
    const transfer = await splice.done;
    expect(transfer).toMatchObject({ bytesUp: 0, bytesDown: 0 });
    expect(transfer.error).toBeUndefined();
    expect(transfer.firstByteAt).toBeUndefined();
    expect([await client.closed, await backend.closed]).toEqual([FINISHED, FINISHED]);
  });
}

function endingClaims(claim: Claim): void {
  for (const [from, to, code] of [
    ['client', 'backend', 'DOWNSTREAM_RESET'],
    ['backend', 'client', 'UPSTREAM_RESET'],
  ] as const) {
    claim(`passes a reset by the ${from} on to the ${to}, and ends with ${code}`, async (wiring) => {
      const spliced = await wiring.spliced();
      await spliced.client.send('one');
      await spliced.backend.receive(3);
      spliced[from].reset();
      expect(await spliced[to].closed).toMatchObject({ kind: 'lost', error: { code: 'ECONNRESET' } });
      expect((await spliced.splice.done).error).toMatchObject({ name: 'ProxyError', code });
    });

    claim(`notices a reset by the ${from} although the ${to} has finished`, async (wiring) => {
      const spliced = await wiring.spliced();
      spliced[to].end();
      await spliced[from].finished;
      spliced[from].reset();
      expect((await spliced.splice.done).error).toMatchObject({ name: 'ProxyError', code });
    });
  }

  claim('that is cut closes both sides and ends with the reason, the first one', async (wiring) => {
    const { client, backend, splice } = await wiring.spliced({ halfOpen: false });
    await client.send('some bytes');
    await backend.receive(10);
    const reason = new ProxyError('CLOSED_BY_DRAIN', 'the grace is over');
    splice.cut(reason);
    splice.cut(new ProxyError('INTERNAL', 'again'));
    const transfer = await splice.done;
    expect(transfer.error).toBe(reason);
    expect(transfer).toMatchObject({ bytesUp: 10, bytesDown: 0 });
    expect([await client.closed, await backend.closed]).toEqual([FINISHED, FINISHED]);
    splice.cut(reason);
  });

  claim('can be cut in the moment in which it begins', async (wiring) => {
    const { client, splice } = await wiring.spliced({ halfOpen: false, head: payload(10) });
    const reason = new ProxyError('CLOSED_BY_DRAIN', 'the grace is over');
    splice.cut(reason);
    expect((await splice.done).error).toBe(reason);
    await client.closed;
  });
}

function backpressureClaims(claim: Claim): void {
  for (const [from, to] of [
    ['client', 'backend'],
    ['backend', 'client'],
  ] as const) {
    claim(`makes the ${from} wait for a slow ${to}, and loses nothing`, async (wiring) => {
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

  claim('carries one way while the other stands still', async (wiring) => {
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

  claim('can be cut while it stands still', async (wiring) => {
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

function idleClaims(claim: Claim): void {
  claim('ends with IDLE_TIMEOUT once nothing has come for so long, and not before', async (wiring) => {
    const { client, backend, splice } = await wiring.spliced({ idleTimeoutMs: IDLE_MS, halfOpen: false });
    const transfer = await splice.done;
    expect(performance.now() - splice.lastByteAt).toBeGreaterThan(IDLE_MS - CLOCK_MS);
    expect(transfer.error).toMatchObject({ name: 'ProxyError', code: 'IDLE_TIMEOUT' });
    expect([await client.closed, await backend.closed]).toEqual([FINISHED, FINISHED]);
  });

  for (const talker of ['client', 'backend'] as const) {
    claim(`lives on for as long as the ${talker} alone sends something`, async (wiring) => {
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
}

function crowdClaims(claim: Claim): void {
  claim(`keeps ${CROWD} at a time apart, and leaves no descriptor behind`, async (wiring) => {
    const accepting = await wiring.listen();
    const backends = wiring.owned(await peerListener({ halfOpen: true }));
    const before = openDescriptors();
    const random = new Random(4);
    const crowd: Spliced[] = [];
    for (let count = 0; count < CROWD; count += 1) crowd.push(await splicedThrough(wiring, accepting, backends));
    await Promise.all(
      crowd.map((each) => exchange(each, payload(random.below(65_536)), payload(random.below(65_536)))),
    );
    await untilDescriptors(before);
  });
}

const FINISHED = { kind: 'finished' };
const CROWD = 500;
// Short enough to wait for; a busy machine may make a pause of a tenth of it.
const IDLE_MS = 300;
const TALK_EVERY_MS = 30;
// Timers count in whole milliseconds of a clock that was read a little earlier.
const CLOCK_MS = 5;

/** Sends a byte now and then, and says when it sent the last. */
async function talk(peer: Peer, forMs: number): Promise<number> {
  let lastSentAt = performance.now();
  for (const endAt = lastSentAt + forMs; lastSentAt < endAt;) {
    await pause(TALK_EVERY_MS);
    lastSentAt = performance.now();
    await peer.send('.');
  }
  return lastSentAt;
}

async function splicedThrough(
  wiring: Wiring,
  { address, accept }: Accepting,
  backends: { readonly address: Accepting['address']; accept(): Promise<Peer> },
): Promise<Spliced> {
  const down = await wiring.acceptedFrom(address, accept, { halfOpen: true });
  const up = await wiring.dial(backends.address);
  return { client: down.peer, backend: await backends.accept(), splice: wiring.splice(down.connection, up) };
}

async function exchange({ client, backend, splice }: Spliced, up: Uint8Array, down: Uint8Array): Promise<void> {
  await Promise.all([client.send(up), backend.send(down)]);
  client.end();
  backend.end();
  const [received, answered, transfer] = await Promise.all([backend.receiveAll(), client.receiveAll(), splice.done]);
  expectSameBytes(received, up);
  expectSameBytes(answered, down);
  expect(transfer).toMatchObject({ bytesUp: up.length, bytesDown: down.length });
  expect(transfer.error).toBeUndefined();
}
