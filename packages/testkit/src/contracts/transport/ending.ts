import { expect } from '../../runner.ts';
import { ProxyError } from '@meshgate/core';
import { expectSameBytes, payload } from './bytes.ts';
import type { TransportClaim } from './claims.ts';
import type { Spliced } from './wiring.ts';

export function halfCloseClaims(claim: TransportClaim): void {
  for (const [first, second] of [
    ['client', 'backend'],
    ['backend', 'client'],
  ] as const) {
    claim(`passes the end on when the ${first} has finished, and continues until the ${second} has`, async (wiring) => {
      const spliced = await wiring.spliced();
      const [early, later] = [payload(10_000), payload(400_000)];
      await spliced[first].send(early);
      spliced[first].end();
      expectSameBytes(await spliced[second].receiveAll(), early);
      await spliced[second].send(later);
      spliced[second].end();
      expectSameBytes(await spliced[first].receiveAll(), later);
      expect((await spliced.splice.done).error).toBeUndefined();
      expect([await spliced.client.closed, await spliced.backend.closed]).toEqual([FINISHED, FINISHED]);
    });
  }

  claim('delivers megabytes that are immediately followed by the end', async (wiring) => {
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

export function resetClaims(claim: TransportClaim): void {
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

    claim(`notices a reset by the ${from} after the ${to} has finished`, async (wiring) => {
      const spliced = await wiring.spliced();
      spliced[to].end();
      await spliced[from].finished;
      spliced[from].reset();
      expect((await spliced.splice.done).error).toMatchObject({ name: 'ProxyError', code });
    });
  }
}

/**
 * Claims about a side that closes its socket after it has finished and received everything it needs: later data is
 * answered with a reset.
 */
export function closeAfterResponseClaims(claim: TransportClaim): void {
  for (const [first, second, code] of [
    ['client', 'backend', 'DOWNSTREAM_RESET'],
    ['backend', 'client', 'UPSTREAM_RESET'],
  ] as const) {
    claim(
      `ends well when the ${first} closes after the response, although the ${second} still sends a closing message`,
      async (wiring) => {
        const spliced = await wiring.spliced();
        await answered(spliced);
        spliced[first].end();
        await spliced[second].finished;
        spliced[first].reset();
        await spliced[second].send('goodbye').catch(() => undefined);
        spliced[second].end();
        expect((await spliced.splice.done).error).toBeUndefined();
      },
    );

    claim(`ends with ${code} when the ${first} is lost while the ${second} is sending`, async (wiring) => {
      const spliced = await wiring.spliced();
      await answered(spliced);
      spliced[first].end();
      await spliced[second].finished;
      await spliced[second].send(payload(100_000));
      await spliced[first].receive(100_000);
      spliced[first].reset();
      spliced[second].send(payload(100_000)).catch(() => undefined);
      expect((await spliced.splice.done).error).toMatchObject({ name: 'ProxyError', code });
    });
  }

  claim('ends with DOWNSTREAM_RESET when a client that has finished is lost without a response', async (wiring) => {
    const { client, backend, splice } = await wiring.spliced();
    client.end();
    await backend.finished;
    client.reset();
    await backend.send('too late').catch(() => undefined);
    expect((await splice.done).error).toMatchObject({ name: 'ProxyError', code: 'DOWNSTREAM_RESET' });
  });
}

async function answered({ client, backend }: Pick<Spliced, 'client' | 'backend'>): Promise<void> {
  await client.send('question');
  await backend.receive(8);
  await backend.send('answer');
  await client.receive(6);
}

/** Claims that a reset overtakes an end that is queued behind bytes. */
export function resetBehindEndClaim(claim: TransportClaim): void {
  claim(
    'passes a reset on although the end is still queued behind bytes that the backend does not read',
    async (wiring) => {
      const head = payload(MORE_THAN_BUFFERS_HOLD_BYTES);
      const { client, backend, splice } = await wiring.spliced({ head, halfOpen: false });
      backend.pause();
      client.end();
      // A round trip: the transport has processed the end.
      await backend.send('still here');
      await client.receive(10);
      const reset = new ProxyError('DOWNSTREAM_RESET', 'the client is gone');
      splice.cut(reset);
      expect((await splice.done).error).toBe(reset);
      // Node cannot always detect that its peer has reset the connection.
      backend.resume();
      await backend.closed;
      expect(backend.bytesReceived).toBeLessThan(head.length);
    },
  );
}

/** Not required for resets by a client, which Node cannot always detect; a transport that can may report them. */
export function resetBehindBytesClaim(claim: TransportClaim): void {
  claim('recognizes a reset by the backend, however close it follows the last bytes', async (wiring) => {
    const { backend, splice } = await wiring.spliced();
    // In one turn: both are pending when the transport looks next.
    backend.send('last').catch(() => undefined);
    backend.reset();
    expect((await splice.done).error).toMatchObject({ name: 'ProxyError', code: 'UPSTREAM_RESET' });
  });
}

export function cutClaims(claim: TransportClaim): void {
  claim('closes both sides when it is cut, and ends with the first reason', async (wiring) => {
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

  claim('can be cut at the moment in which it starts', async (wiring) => {
    const { client, splice } = await wiring.spliced({ halfOpen: false, head: payload(10) });
    const reason = new ProxyError('CLOSED_BY_DRAIN', 'the grace is over');
    splice.cut(reason);
    expect((await splice.done).error).toBe(reason);
    await client.closed;
  });
}

const FINISHED = { kind: 'finished' };
// A pair of kernel buffers on current Linux (tcp_rmem, tcp_wmem), and more.
const MORE_THAN_BUFFERS_HOLD_BYTES = 48 * 1024 * 1024;
