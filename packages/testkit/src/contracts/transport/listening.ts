import { networkInterfaces } from 'node:os';
import { describe, expect } from '../../runner.ts';
import type { Connection } from '@meshgate/core';
import { unixAddress } from '../../addresses.ts';
import { rawClient } from '../../clients.ts';
import type { Peer } from '../../peer.ts';
import { readBytes } from './bytes.ts';
import type { TransportClaim } from './claims.ts';
import type { Wiring } from './wiring.ts';

/** Whether this machine has `::1`; many containers do not. */
export function hasIPv6(): boolean {
  const addresses = Object.values(networkInterfaces()).flat();
  return addresses.some((each) => each?.address === '::1');
}

/** The kernel uses the lower 16 bits of a larger port. */
export const NO_PORTS: readonly number[] = [65_536, 100_721, -30_351, 1.5, Number.NaN];

export function describeListening(claim: TransportClaim): void {
  describe('listening', () => {
    claim('takes any free port, reports which, and knows both endpoints of what it accepts', async (wiring) => {
      await expectAccepts(wiring, { host: '127.0.0.1', port: 0 });
    });

    claim('works on IPv6', (wiring) => expectAccepts(wiring, { host: '::1', port: 0 }), !hasIPv6());

    claim('works on a unix socket', async (wiring) => {
      const { address } = wiring.owned(await unixAddress());
      const { address: bound, accept } = await wiring.listen(address);
      expect(bound).toEqual(address);
      const { connection, peer } = await wiring.acceptedFrom(bound, accept);
      expect(connection.local.host).toBe(address.host);
      await peer.send('over a file');
      expect(Buffer.from(await readBytes(connection, 11)).toString()).toBe('over a file');
    });

    claim('rejects with the error of the system when the address is in use', async (wiring) => {
      const { address } = await wiring.listen();
      await expect(wiring.listen(address)).rejects.toMatchObject({
        code: 'EADDRINUSE',
        address: address.host,
        port: address.port,
      });
    });

    describeSharing(claim);

    claim('rejects an invalid port, instead of listening on another', async (wiring) => {
      for (const port of NO_PORTS) await expect(wiring.listen({ host: '127.0.0.1', port })).rejects.toThrow(`${port}`);
    });

    claim('accepts all of many concurrent clients', async (wiring) => {
      const { address, accept } = await wiring.listen();
      const clients = await Promise.all(Array.from({ length: 100 }, () => rawClient(address)));
      const accepted = await Promise.all(clients.map((client) => acceptFor(client)));
      const ports = new Set(accepted.map(({ remote }) => remote.port));
      expect(ports).toEqual(new Set(clients.map(({ local }) => local.port)));

      function acceptFor(client: Peer): Promise<Connection> {
        wiring.owned(client);
        return accept();
      }
    });

    claim('frees the port when it is closed, even twice, and leaves accepted connections alone', async (wiring) => {
      const { address, accept, listening } = await wiring.listen();
      const { connection, peer } = await wiring.acceptedFrom(address, accept);
      await Promise.all([listening.close(), listening.close()]);
      await expect(rawClient(address)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
      await wiring.listen(address);
      await peer.send('still here');
      expect(Buffer.from(await readBytes(connection, 10)).toString()).toBe('still here');
    });
  });
}

async function expectAccepts(wiring: Wiring, at: { host: string; port: number }): Promise<void> {
  const { address, accept } = await wiring.listen(at);
  expect(address.host).toBe(at.host);
  expect(address.port).toBeGreaterThan(0);
  const { connection, peer } = await wiring.acceptedFrom(address, accept);
  expect(connection).toMatchObject({ local: address, remote: peer.local });
}

function describeSharing(claim: TransportClaim): void {
  claim(
    'shares a port with another listener when both allow it, or refuses it, but never takes it over',
    async (wiring) => {
      const { address, accept } = await wiring.listen(undefined, { reusePort: true });
      const second = await wiring.listen(address, { reusePort: true }).catch((reason: unknown) => reason);
      if (second instanceof Error) {
        expect(second).toMatchObject({ code: 'EADDRINUSE' });
        return;
      }
      const other = second as Awaited<ReturnType<typeof wiring.listen>>;
      const client = wiring.owned(await rawClient(address));
      const accepted = await Promise.race([accept(), other.accept()]);
      expect(accepted.remote.port).toBe(client.local.port);
    },
  );
}
