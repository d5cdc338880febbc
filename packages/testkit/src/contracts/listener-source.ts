import { isIP } from 'node:net';
import { describe, expect } from '../runner.ts';
import type { ListenAddress, ListenerSource } from '@meshgate/core';
import { sourceClaims, watchClaims } from './watching.ts';
import type { SourceHarness } from './watching.ts';

/**
 * Declares a suite that checks the contract of a listener source: that of a route source ({@link describeRouteSource})
 * without versions, and that its addresses can be bound.
 */
export function describeListenerSource(name: string, harness: SourceHarness<ListenerSource>): void {
  describe(`${name}, as a listener source,`, () => {
    const claim = sourceClaims<readonly ListenAddress[]>(harness, (listed) => listed);
    watchClaims(claim);

    claim('lists addresses that can be bound, each with its own name', async (reader) => {
      const listed = await reader().next();
      const names = listed.map((each) => each.name);
      expect(names).toEqual([...new Set(names)]);
      expect(names).not.toContain('');
      expect(listed.filter((each) => !canBeBound(each))).toEqual([]);
    });
  });
}

/** Whether an address can be bound: an IP address, not a DNS name, since a listener binds a local address. */
function canBeBound({ endpoint: { host, port } }: ListenAddress): boolean {
  return (host.startsWith('unix:') || isIP(host) !== 0) && Number.isInteger(port) && port >= 0 && port <= 65535;
}
