import { describe, expect } from '../../runner.ts';
import { ProxyError } from '@meshgate/core';
import type { ProxyErrorCode } from '@meshgate/core';
import type { PeerOptions } from '../../peer.ts';
import { expectSameBytes, payload, readAll, readBytes, writeUntilStalled } from './bytes.ts';
import type { TransportClaim } from './claims.ts';
import type { Wired, Wiring } from './wiring.ts';

/** One side of the proxy: accepted and dialled connections have the same contract, with the sides swapped. */
interface ConnectionSide {
  readonly name: string;
  /** Code of a reset by its own peer. */
  readonly ownReset: ProxyErrorCode;
  /** Reason for passing a reset of the other side on to its peer. */
  readonly otherReset: ProxyErrorCode;
  open(wiring: Wiring, options?: PeerOptions): Promise<Wired>;
}

const ENDS: readonly ConnectionSide[] = [
  {
    name: 'accepted',
    ownReset: 'DOWNSTREAM_RESET',
    otherReset: 'UPSTREAM_RESET',
    open: (wiring, options) => wiring.accepted(options),
  },
  {
    name: 'dialled',
    ownReset: 'UPSTREAM_RESET',
    otherReset: 'DOWNSTREAM_RESET',
    open: (wiring, options) => wiring.dialled(options),
  },
];

export function describeConnections(claim: TransportClaim): void {
  for (const end of ENDS) {
    describe(`a connection that it ${end.name}`, () => {
      readingClaims(claim, end);
      writingClaims(claim, end);
      destroyingClaims(claim, end);
      resetClaims(claim, end);
    });
  }
}

function readingClaims(claim: TransportClaim, { open }: ConnectionSide): void {
  claim('reads what was sent, in order, then the end', async (wiring) => {
    const { connection, peer } = await open(wiring);
    const sent = payload(5_000_000);
    const read = readAll(connection);
    await peer.send(sent);
    peer.end();
    expectSameBytes(await read, sent);
  });

  claim('reads bytes that arrived before the read', async (wiring) => {
    const { connection, peer } = await open(wiring);
    const sent = payload(200_000);
    await peer.send(sent.subarray(0, 100_000));
    peer.send(sent.subarray(100_000)).catch(() => undefined);
    peer.end();
    await new Promise((resolve) => setImmediate(resolve));
    expectSameBytes(await readAll(connection), sent);
  });

  claim('reads messages of one byte', async (wiring) => {
    const { connection, peer } = await open(wiring);
    const sent = payload(50);
    const read = readAll(connection);
    await peer.sendInPieces(Array.from(sent, (byte) => Uint8Array.of(byte)));
    peer.end();
    expectSameBytes(await read, sent);
  });

  claim('applies backpressure to its peer when it is not read', async (wiring) => {
    const { connection, peer } = await open(wiring);
    const { sent, pending } = await writeUntilStalled(peer);
    const read = readBytes(connection, sent.length);
    await pending;
    expectSameBytes(await read, sent);
  });
}

function writingClaims(claim: TransportClaim, { open }: ConnectionSide): void {
  claim('writes all of it, in order', async (wiring) => {
    const { connection, peer } = await open(wiring);
    const sent = [payload(1), payload(3_000_000), payload(70_000), payload(0), payload(5)];
    for (const bytes of sent) await connection.write(bytes.slice());
    const all = Buffer.concat(sent);
    expectSameBytes(await peer.receive(all.length), all);
  });

  claim('applies backpressure to its writer when the reader is slow, and loses nothing', async (wiring) => {
    const { connection, peer } = await open(wiring);
    peer.pause();
    const { sent, pending } = await writeUntilStalled(connection);
    peer.resume();
    await pending;
    expectSameBytes(await peer.receive(sent.length), sent);
  });

  claim('can be written to after its peer has finished sending', async (wiring) => {
    const { connection, peer } = await open(wiring, { halfOpen: true });
    peer.end();
    expect(await connection.read()).toBeUndefined();
    await connection.write(Buffer.from('an answer'));
    expect((await peer.receive(9)).toString()).toBe('an answer');
  });
}

function destroyingClaims(claim: TransportClaim, { open, otherReset }: ConnectionSide): void {
  claim('ends in order when it is destroyed, even repeatedly', async (wiring) => {
    const { connection, peer } = await open(wiring);
    connection.destroy();
    connection.destroy(new ProxyError('INTERNAL', 'again'));
    expect(await peer.closed).toEqual({ kind: 'finished' });
  });

  claim('still delivers what was written right before it is destroyed', async (wiring) => {
    const { connection, peer } = await open(wiring);
    const sent = payload(100);
    connection.write(sent).catch(() => undefined);
    connection.destroy(new ProxyError('ROUTE_NOT_FOUND', 'no route'));
    expectSameBytes(await peer.receiveAll(), sent);
  });

  claim('rejects a pending read with the reason of its destruction', async (wiring) => {
    const { connection } = await open(wiring);
    const read = connection.read().catch((error: unknown) => error);
    const reason = new ProxyError('SNIFF_TIMEOUT', 'the ClientHello was incomplete at the deadline');
    connection.destroy(reason);
    expect(await read).toBe(reason);
  });

  claim('rejects a pending write with the reason of its destruction', async (wiring) => {
    const { connection, peer } = await open(wiring);
    peer.pause();
    const { pending } = await writeUntilStalled(connection);
    const reason = new ProxyError('CLOSED_BY_DRAIN', 'the grace is over');
    connection.destroy(reason);
    expect(await pending.catch((error: unknown) => error)).toBe(reason);
  });

  claim('passes a reset of the other side on when it is destroyed for that reason', async (wiring) => {
    const { connection, peer } = await open(wiring);
    connection.destroy(new ProxyError(otherReset, 'the other side reset'));
    expect(await peer.closed).toMatchObject({ kind: 'lost', error: { code: 'ECONNRESET' } });
  });
}

function resetClaims(claim: TransportClaim, { open, ownReset }: ConnectionSide): void {
  claim(`rejects a pending read with ${ownReset} when its peer resets`, async (wiring) => {
    const { connection, peer } = await open(wiring);
    const read = connection.read();
    peer.reset();
    await expect(read).rejects.toMatchObject({ name: 'ProxyError', code: ownReset });
  });

  claim('reports a reset without a reader once, or rejects the next read', async (wiring) => {
    const { connection, peer } = await open(wiring);
    const errors: unknown[] = [];
    connection.onReset = (error) => void errors.push(error.code);
    peer.reset();
    await peer.closed;
    await expect(connection.read()).rejects.toMatchObject({ code: ownReset });
    expect([[], [ownReset]]).toContainEqual(errors);
  });

  claim(`rejects writes with ${ownReset} after its peer has reset`, async (wiring) => {
    const { connection, peer } = await open(wiring);
    peer.reset();
    await peer.closed;
    // The first writes may still be accepted: only the peer's response to them reveals the reset.
    const writing = (async () => {
      for (;;) {
        await connection.write(payload(10));
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    await expect(writing).rejects.toMatchObject({ name: 'ProxyError', code: ownReset });
  });
}
