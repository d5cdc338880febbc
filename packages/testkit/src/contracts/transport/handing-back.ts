import { expect } from '../../runner.ts';
import { ProxyError } from '@meshgate/core';
import { expectSameBytes, payload, readBytes } from './bytes.ts';
import type { TransportClaim } from './claims.ts';
import type { Wired, Wiring } from './wiring.ts';

/** Claims about a client whose backend has closed without a response, if the splice may hand it back. */
export function handingBackClaims(claim: TransportClaim, unless: boolean): void {
  for (const how of ['end', 'reset'] as const) {
    claim(
      `hands the client back when the backend ${WORDS[how]} without a response, for another backend`,
      async (wiring) => {
        const down = await wiring.accepted({ halfOpen: true });
        await unanswered(wiring, down, how);
        const up = await wiring.dialled({ halfOpen: true });
        await up.peer.send('answer');
        const again = wiring.splice(down.connection, up.connection, { head: HEAD.slice() });
        expect((await down.peer.receive(6)).toString()).toBe('answer');
        await down.peer.send('more');
        down.peer.end();
        expectSameBytes(await up.peer.receiveAll(), Buffer.concat([HEAD, Buffer.from('more')]));
        up.peer.end();
        expect(await again.done).toMatchObject({ bytesUp: HEAD.length + 4, bytesDown: 6 });
      },
      unless,
    );
  }

  claim(
    'hands the client back with what it sends from then on',
    async (wiring) => {
      const down = await wiring.accepted({ halfOpen: true });
      await unanswered(wiring, down, 'end');
      await down.peer.send('late');
      expect(Buffer.from(await readBytes(down.connection, 4)).toString()).toBe('late');
      await down.connection.write(Buffer.from('heard'));
      expect((await down.peer.receive(5)).toString()).toBe('heard');
      down.connection.destroy();
      await down.peer.finished;
    },
    unless,
  );

  claim(
    'hands the client back when the backend had closed before the splice started',
    async (wiring) => {
      const down = await wiring.accepted({ halfOpen: true });
      const up = await wiring.dialled({ halfOpen: false });
      up.peer.reset();
      await new Promise((resolve) => setImmediate(resolve));
      const splice = wiring.splice(down.connection, up.connection, { head: HEAD.slice(), handBackUntilMs: LATER() });
      expect(await splice.done).toMatchObject({ bytesDown: 0, handedBack: true });
    },
    unless,
  );

  refusingClaims(claim);
}

/** Claims about cases in which the client must be closed with its backend. */
function refusingClaims(claim: TransportClaim): void {
  claim('keeps the client when it has sent more than the head', async (wiring) => {
    const { client, backend, splice } = await wiring.spliced({ head: HEAD.slice(), handBackUntilMs: LATER() });
    await client.send('more');
    await backend.receive(HEAD.length + 4);
    backend.reset();
    const transfer = await splice.done;
    expect(transfer).toMatchObject({ error: { code: 'UPSTREAM_RESET' } });
    expect(transfer.handedBack).toBeUndefined();
  });

  claim('keeps the client when the backend has sent a byte', async (wiring) => {
    const { client, backend, splice } = await wiring.spliced({ head: HEAD.slice(), handBackUntilMs: LATER() });
    await backend.send('.');
    await client.receive(1);
    backend.end();
    client.end();
    const transfer = await splice.done;
    expect([transfer.error, transfer.handedBack, transfer.bytesDown]).toEqual([undefined, undefined, 1]);
  });

  claim('keeps the client when the only bytes of the backend come with its end', async (wiring) => {
    const { client, backend, splice } = await wiring.spliced({ head: HEAD.slice(), handBackUntilMs: LATER() });
    await backend.receive(HEAD.length);
    // In one turn: both are pending when the transport looks next.
    backend.send('answer').catch(() => undefined);
    backend.end();
    expect((await client.receiveAll()).toString()).toBe('answer');
    client.end();
    const transfer = await splice.done;
    expect([transfer.error, transfer.handedBack, transfer.bytesDown]).toEqual([undefined, undefined, 6]);
  });

  claim('keeps the client when it has finished', async (wiring) => {
    const { client, backend, splice } = await wiring.spliced({ head: HEAD.slice(), handBackUntilMs: LATER() });
    client.end();
    await backend.finished;
    backend.end();
    const transfer = await splice.done;
    expect([transfer.error, transfer.handedBack]).toEqual([undefined, undefined]);
    expect(await client.closed).toEqual({ kind: 'finished' });
  });

  for (const [when, handBackUntilMs] of [
    ['the deadline has passed', () => performance.now() - 1],
    ['it was not requested', () => undefined],
  ] as const) {
    claim(`passes the end on as usual when ${when}`, async (wiring) => {
      const { client, backend, splice } = await wiring.spliced({ head: HEAD, handBackUntilMs: handBackUntilMs() });
      backend.end();
      await client.finished;
      await client.send('still');
      expectSameBytes(await backend.receive(HEAD.length + 5), Buffer.concat([HEAD, Buffer.from('still')]));
      client.end();
      const transfer = await splice.done;
      expect([transfer.error, transfer.handedBack]).toEqual([undefined, undefined]);
    });
  }

  lossClaims(claim);
}

function lossClaims(claim: TransportClaim): void {
  claim('ends with DOWNSTREAM_RESET when the client is lost', async (wiring) => {
    const { client, backend, splice } = await wiring.spliced({ head: HEAD.slice(), handBackUntilMs: LATER() });
    await backend.receive(HEAD.length);
    client.reset();
    const transfer = await splice.done;
    expect([transfer.error?.code, transfer.handedBack]).toEqual(['DOWNSTREAM_RESET', undefined]);
    await backend.closed;
  });

  claim('closes both when it is cut while the client could be handed back', async (wiring) => {
    const limits = { head: HEAD.slice(), handBackUntilMs: LATER(), halfOpen: false };
    const { client, backend, splice } = await wiring.spliced(limits);
    backend.reset();
    splice.cut(new ProxyError('CLOSED_BY_DRAIN', 'the grace is over'));
    const transfer = await splice.done;
    expect([transfer.error?.code, transfer.handedBack]).toEqual(['CLOSED_BY_DRAIN', undefined]);
    await client.closed;
  });
}

/** Runs a splice whose backend receives the head and closes. */
async function unanswered(wiring: Wiring, down: Wired, how: 'end' | 'reset'): Promise<void> {
  const up = await wiring.dialled({ halfOpen: false });
  const splice = wiring.splice(down.connection, up.connection, { head: HEAD.slice(), handBackUntilMs: LATER() });
  await up.peer.receive(HEAD.length);
  up.peer[how]();
  const transfer = await splice.done;
  expect(transfer).toMatchObject({ bytesUp: HEAD.length, bytesDown: 0, handedBack: true });
  expect(transfer.error?.code).toBe(how === 'end' ? undefined : 'UPSTREAM_RESET');
}

const HEAD = payload(1_800);
const WORDS = { end: 'finishes', reset: 'resets' } as const;
const LATER = (): number => performance.now() + 60_000;
