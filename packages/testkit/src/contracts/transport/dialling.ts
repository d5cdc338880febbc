import { describe, expect } from '../../runner.ts';
import { refusingAddress, silentAddress, unixAddress } from '../../addresses.ts';
import { openDescriptors, untilDescriptors } from '../resources.ts';
import { readBytes } from './bytes.ts';
import type { TransportClaim } from './claims.ts';
import { hasIPv6, NO_PORTS } from './listening.ts';
import type { Wiring } from './wiring.ts';
import { ProxyError } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';

export function describeDialling(claim: TransportClaim): void {
  describe('dialling', () => {
    claim('reaches an address, and knows both endpoints', (wiring) =>
      expectReaches(wiring, { host: '127.0.0.1', port: 0 }),
    );

    claim('reaches an IPv6 address', (wiring) => expectReaches(wiring, { host: '::1', port: 0 }), !hasIPv6());

    claim('reaches a unix socket', async (wiring) => {
      const { address } = wiring.owned(await unixAddress());
      const { connection, peer } = await wiring.dialled({ at: address });
      expect(connection.remote).toEqual(address);
      await peer.send('hello');
      expect(Buffer.from(await readBytes(connection, 5)).toString()).toBe('hello');
    });

    claim('rejects with CONNECT_REFUSED when nothing listens', async (wiring) => {
      const { address } = wiring.owned(await refusingAddress());
      await expect(wiring.dial(address)).rejects.toMatchObject({ name: 'ProxyError', code: 'CONNECT_REFUSED' });
    });

    claim('rejects with CONNECT_FAILED for an unreachable address', async (wiring) => {
      // TCP to the broadcast address fails immediately, without a packet.
      const dial = wiring.dial({ host: '255.255.255.255', port: 1 });
      await expect(dial).rejects.toMatchObject({ name: 'ProxyError', code: 'CONNECT_FAILED' });
    });

    claim('rejects with CONNECT_FAILED for an invalid port, instead of dialling another', async (wiring) => {
      for (const port of NO_PORTS)
        await expect(wiring.dial({ host: '127.0.0.1', port })).rejects.toMatchObject({
          name: 'ProxyError',
          code: 'CONNECT_FAILED',
          message: expect.stringContaining(`${port}`) as string,
        });
    });
    abandonedClaims(claim);
  });
}

function abandonedClaims(claim: TransportClaim): void {
  claim('rejects with CONNECT_TIMEOUT without a response in time, and leaves nothing behind', async (wiring) => {
    const { address } = wiring.owned(await silentAddress());
    const before = openDescriptors();
    const start = performance.now();
    const dial = wiring.dial(address, { timeoutMs: TIMEOUT_MS });
    await expect(dial).rejects.toMatchObject({ name: 'ProxyError', code: 'CONNECT_TIMEOUT' });
    expect(performance.now() - start).toBeGreaterThan(TIMEOUT_MS - CLOCK_MS);
    await untilDescriptors(before);
  });

  claim('rejects with the reason when it is cut, and leaves nothing behind', async (wiring) => {
    const { address } = wiring.owned(await silentAddress());
    const before = openDescriptors();
    const reason = new ProxyError('DOWNSTREAM_RESET', 'the client has disconnected');
    const dials = Array.from({ length: 10 }, () => wiring.dialling(address));
    setImmediate(() => {
      for (const dial of dials) dial.cut(reason);
    });
    for (const { done } of dials) expect(await done.catch((error: unknown) => error)).toBe(reason);
    await untilDescriptors(before);
  });

  claim('can be cut at the moment in which it starts, and once more', async (wiring) => {
    const { address } = await wiring.listen();
    const reason = new ProxyError('CLOSED_BY_DRAIN', 'the grace is over');
    const dial = wiring.dialling(address);
    dial.cut(reason);
    dial.cut(new ProxyError('INTERNAL', 'again'));
    expect(await dial.done.catch((error: unknown) => error)).toBe(reason);
  });

  claim('cannot be cut any more once it has connected', async (wiring) => {
    const { address, accept } = await wiring.listen();
    const dial = wiring.dialling(address);
    const connection = await dial.done;
    dial.cut(new ProxyError('INTERNAL', 'too late'));
    await connection.write(Buffer.from('alive'));
    expect(Buffer.from(await readBytes(await accept(), 5)).toString()).toBe('alive');
    connection.destroy();
  });
}

const TIMEOUT_MS = 150;
// Timers use whole milliseconds of a clock that was read slightly earlier.
const CLOCK_MS = 5;

async function expectReaches(wiring: Wiring, at: Endpoint): Promise<void> {
  const { connection, peer } = await wiring.dialled({ at });
  expect(connection).toMatchObject({ remote: peer.local, local: peer.remote });
}
