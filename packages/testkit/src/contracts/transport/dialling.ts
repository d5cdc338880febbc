import { getEventListeners } from 'node:events';
import { describe, expect } from 'vitest';
import { refusingAddress, silentAddress, unixAddress } from '../../addresses.ts';
import { openDescriptors, untilDescriptors } from '../resources.ts';
import { readBytes } from './bytes.ts';
import type { Claim } from './claims.ts';
import { hasIPv6 } from './listening.ts';
import type { Wiring } from './wiring.ts';
import type { Endpoint } from '@meshgate/core';

export function describeDialling(claim: Claim): void {
  describe('dialling', () => {
    claim('reaches an address, and knows both ends', (wiring) => expectReaches(wiring, { host: '127.0.0.1', port: 0 }));

    claim('reaches an address of IPv6', (wiring) => expectReaches(wiring, { host: '::1', port: 0 }), !hasIPv6());

    claim('reaches a unix socket', async (wiring) => {
      const { address } = wiring.owned(await unixAddress());
      const { connection, peer } = await wiring.dialled({ at: address });
      expect(connection.remote).toEqual(address);
      await peer.send('hello');
      expect(Buffer.from(await readBytes(connection, 5)).toString()).toBe('hello');
    });

    claim('rejects with CONNECT_REFUSED where nobody listens', async (wiring) => {
      const { address } = wiring.owned(await refusingAddress());
      await expect(wiring.dial(address)).rejects.toMatchObject({ name: 'ProxyError', code: 'CONNECT_REFUSED' });
    });

    claim('rejects with CONNECT_FAILED where the system cannot go', async (wiring) => {
      // No TCP connection can be made to the broadcast address: the system says so without sending anything.
      const dial = wiring.dial({ host: '255.255.255.255', port: 1 });
      await expect(dial).rejects.toMatchObject({ name: 'ProxyError', code: 'CONNECT_FAILED' });
    });
    abandonedClaims(claim);
  });
}

function abandonedClaims(claim: Claim): void {
  claim('rejects with CONNECT_TIMEOUT when nobody answers in time, and leaves nothing behind', async (wiring) => {
    const { address } = wiring.owned(await silentAddress());
    const before = openDescriptors();
    const start = performance.now();
    const dial = wiring.dial(address, { timeoutMs: TIMEOUT_MS });
    await expect(dial).rejects.toMatchObject({ name: 'ProxyError', code: 'CONNECT_TIMEOUT' });
    expect(performance.now() - start).toBeGreaterThan(TIMEOUT_MS - CLOCK_MS);
    await untilDescriptors(before);
  });

  claim('rejects with the reason of its signal when that aborts, and leaves nothing behind', async (wiring) => {
    const { address } = wiring.owned(await silentAddress());
    const before = openDescriptors();
    const abort = new AbortController();
    const reason = new Error('the client has gone');
    const dials = Array.from({ length: 10 }, () => wiring.dial(address, {}, abort.signal));
    setImmediate(() => abort.abort(reason));
    for (const dial of await Promise.allSettled(dials)) expect(dial).toEqual({ status: 'rejected', reason });
    await untilDescriptors(before);
  });

  claim('rejects with the reason of a signal that has aborted before', async (wiring) => {
    const reason = new Error('too late');
    const { address } = await wiring.listen();
    const outcome = await wiring.dial(address, {}, AbortSignal.abort(reason)).catch((error: unknown) => error);
    expect(outcome).toBe(reason);
  });

  claim('lets go of its signal once it has connected', async (wiring) => {
    const { address, accept } = await wiring.listen();
    const abort = new AbortController();
    const connection = await wiring.dial(address, {}, abort.signal);
    expect(getEventListeners(abort.signal, 'abort')).toEqual([]);
    abort.abort(new Error('nobody listens to it any more'));
    await connection.write(Buffer.from('alive'));
    expect(Buffer.from(await readBytes(await accept(), 5)).toString()).toBe('alive');
  });
}

const TIMEOUT_MS = 150;
// Timers count in whole milliseconds of a clock that was read a little earlier.
const CLOCK_MS = 5;

async function expectReaches(wiring: Wiring, at: Endpoint): Promise<void> {
  const { connection, peer } = await wiring.dialled({ at });
  expect(connection).toMatchObject({ remote: peer.local, local: peer.remote });
}
