import { describe, expect } from '../../runner.ts';
import type { Connection } from '@meshgate/core';
import { unixAddress } from '../../addresses.ts';
import { collectGarbage } from '../garbage.ts';
import { Random } from '../random.ts';
import { expectSameBytes, payload, readBytes } from './bytes.ts';
import type { TransportClaim, TransportTraits } from './claims.ts';
import { crowdClaims } from './crowd.ts';
import {
  closeAfterResponseClaims,
  cutClaims,
  halfCloseClaims,
  resetBehindBytesClaim,
  resetBehindEndClaim,
  resetClaims,
} from './ending.ts';
import { handingBackClaims } from './handing-back.ts';
import { backpressureClaims, idleClaims } from './waiting.ts';
import type { Wiring } from './wiring.ts';

export function describeSplicing(claim: TransportClaim, { handsBack = true }: TransportTraits): void {
  describe('a splice', () => {
    carryingClaims(claim);
    extremeClaims(claim);
    progressClaims(claim);
    halfCloseClaims(claim);
    resetClaims(claim);
    closeAfterResponseClaims(claim);
    resetBehindBytesClaim(claim);
    resetBehindEndClaim(claim);
    cutClaims(claim);
    backpressureClaims(claim);
    idleClaims(claim);
    handingBackClaims(claim, !handsBack);
    crowdClaims(claim);
  });
}

function carryingClaims(claim: TransportClaim): void {
  claim('carries all bytes both ways, however they are split, and counts them', async (wiring) => {
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

  claim('retains nothing of the head once that has been sent', async (wiring) => {
    const down = await wiring.accepted();
    const up = await wiring.dialled();
    const head = spliceWithHead(wiring, down.connection, up.connection);
    await up.peer.receive(HEAD_BYTES);
    // The next turn of the transport overwrites leftovers of the last one on the stack.
    await down.peer.send('.');
    await up.peer.receive(1);
    collectGarbage();
    expect(head.deref()).toBeUndefined();
  });

  claim('carries what had arrived before it started, including the end', async (wiring) => {
    const down = await wiring.accepted({ halfOpen: true });
    const up = await wiring.dialled({ halfOpen: true });
    const [early, response] = [payload(150_000), payload(30_000)];
    await down.peer.send(early.subarray(0, 10));
    const head = await readBytes(down.connection, 10);
    await Promise.all([down.peer.send(early.subarray(10)), up.peer.send(response)]);
    down.peer.end();
    up.peer.end();
    await new Promise((resolve) => setImmediate(resolve));
    const splice = wiring.splice(down.connection, up.connection, { head });
    expectSameBytes(await up.peer.receiveAll(), early);
    expectSameBytes(await down.peer.receiveAll(), response);
    expect(await splice.done).toMatchObject({ bytesUp: early.length, bytesDown: response.length });
  });
}

/** A separate function, so that nothing of the head remains on the stack. */
function spliceWithHead(wiring: Wiring, down: Connection, up: Connection): WeakRef<Uint8Array> {
  const head = payload(HEAD_BYTES);
  wiring.splice(down, up, { head });
  return new WeakRef(head);
}

const HEAD_BYTES = 600;

function extremeClaims(claim: TransportClaim): void {
  claim('counts nothing that was written before it started', async (wiring) => {
    const down = await wiring.accepted({ halfOpen: true });
    const up = await wiring.dialled({ halfOpen: true });
    await up.connection.write(payload(40));
    await down.connection.write(payload(30));
    const splice = wiring.splice(down.connection, up.connection);
    await down.peer.send(payload(5));
    down.peer.end();
    up.peer.end();
    expect(await up.peer.receiveAll()).toHaveLength(45);
    expect(await down.peer.receiveAll()).toHaveLength(30);
    expect(await splice.done).toMatchObject({ bytesUp: 5, bytesDown: 0 });
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

  claim('carries between TCP and a unix socket', async (wiring) => {
    const { address } = wiring.owned(await unixAddress());
    const down = await wiring.accepted({ halfOpen: true });
    const up = await wiring.dialled({ halfOpen: true, at: address });
    const splice = wiring.splice(down.connection, up.connection, { head: payload(10) });
    const [sent, response] = [payload(300_000), payload(200_000)];
    await Promise.all([down.peer.send(sent), up.peer.send(response)]);
    down.peer.end();
    up.peer.end();
    expectSameBytes((await up.peer.receiveAll()).subarray(10), sent);
    expectSameBytes(await down.peer.receiveAll(), response);
    expect(await splice.done).toMatchObject({ bytesUp: sent.length + 10, bytesDown: response.length });
  });
}

function progressClaims(claim: TransportClaim): void {
  claim('reports its progress while it runs: bytes and times', async (wiring) => {
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

// The loop's clock may be that of the start of its turn.
const CLOCK_MS = 5;
