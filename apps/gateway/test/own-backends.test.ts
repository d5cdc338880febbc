import type { Route } from '@meshgate/core';
import { indexRoutes, RouteTable } from '@meshgate/core/parts';
import type { SourceStatus } from '@meshgate/core/parts';
import { describe, expect, it } from 'vitest';
import { withRouteWarnings } from '../src/config/route-warnings.ts';

function routeTo(name: string, ...hosts: readonly string[]): Route {
  const backends = hosts.map((host) => ({ address: { host, port: 8_443 }, weight: 1, healthy: true }));
  return { name, serverNames: [`${name}.example`], backends };
}

const EDGE = {
  name: 'edge',
  endpoint: { host: '127.0.0.1', port: 8_443 },
  address: { host: '127.0.0.1', port: 8_443 },
  advertised: [{ host: '203.0.113.5', port: 8_443 }],
};

/** Warnings of a source with these routes, as in the response of /ready. */
function warningsOf(...routes: readonly Route[]): readonly string[] {
  const table = new RouteTable([indexRoutes('consul', { version: '1', routes })]);
  const status = { name: 'consul', warnings: [] } as unknown as SourceStatus;
  return withRouteWarnings([status], table, [EDGE])[0]?.warnings ?? [];
}

describe('a route whose backend is a listener of the gateway', () => {
  it.each([
    ['by the address that is bound', '127.0.0.1'],
    ['by the WAN address that others have been told', '203.0.113.5'],
    ['by a wildcard', '0.0.0.0'],
  ])('%s is a warning of its source', (_how, host) => {
    expect(warningsOf(routeTo('well', '192.0.2.1'), routeTo('dc2', '192.0.2.1', host))).toEqual([
      `route dc2 leads back to this gateway: ${host}:8443 is its listener edge`,
    ]);
  });

  it.each(['0.0.0.0', '::', '0:0::0', '::ffff:0.0.0.0'])(
    'that is the wildcard %s on another port is a warning',
    (host) => {
      const backends = [{ address: { host, port: 21_000 }, weight: 1, healthy: true }];
      const [warning] = warningsOf({ name: 'db', serverNames: ['db.example'], backends });
      expect(warning).toMatch(/^route db has the wildcard address \S+:21000 as a backend: it is not dialled$/);
    },
  );

  it('has no warning otherwise, and of thousands of such routes a few are named', () => {
    expect(warningsOf(routeTo('dc2', '192.0.2.1', '127.0.0.2'))).toEqual([]);
    const all = Array.from({ length: 1_000 }, (_, index) => routeTo(`r${index}`, '127.0.0.1'));
    const warnings = warningsOf(...all);
    expect([warnings.length, warnings.at(-1)]).toEqual([6, 'and 995 more such routes']);
  });
});
