import type { ConnectContext } from '@meshgate/core';
import { DEFAULT_LIMITS, ProxyError } from '@meshgate/core';
import { AddressBook, Outliers } from '@meshgate/core/parts';
import { certificateAuthority, recorder } from '@meshgate/testkit';
import { expect, it, onTestFinished, vi } from 'vitest';
import { identityOf } from '../src/identity.ts';
import { sidecarConnector } from '../src/sidecar-connector.ts';
import { sidecarRoutes } from '../src/sidecar-routes.ts';
import { credentialsOf, leafOf, targetOf, upstreamOf, viewOf } from './mesh.ts';

const HOUR_MS = 3_600_000;

it('state of servers without connections is dropped, with that of their addresses', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const root = certificateAuthority('root');
  const observer = recorder();
  const outliers = new Outliers(observer);
  const connector = sidecarConnector({
    outliers,
    observer,
    addresses: new AddressBook(observer),
    limits: DEFAULT_LIMITS,
    keepAlive: { idleMs: 60_000 },
    identity: { current: identityOf(credentialsOf(leafOf(root, 'web'), root)) },
    authorizer: { authorize: () => Promise.reject(new Error('nobody calls')) },
  });
  const dial = () => ({
    done: Promise.reject(new ProxyError('CONNECT_REFUSED', 'nobody there')),
    cut: () => undefined,
  });
  const context = { dial, abandoned: undefined, hello: { protocol: 'tcp' } } as unknown as ConnectContext;
  /** Ejects a backend at its first failure, for longer than servers are remembered. */
  const dialFailsAt = async (number: number): Promise<void> => {
    const target = targetOf({ service: `db-${number}`, at: [{ host: '10.0.0.1', port: number }] });
    const passiveHealthCheck = { maxFailures: 1, baseEjectionMs: 3 * HOUR_MS };
    const upstream = { ...upstreamOf(`db-${number}`, [target]), passiveHealthCheck };
    const [, route] = sidecarRoutes(viewOf({ service: 'web', upstreams: [upstream] })).routes;
    if (route === undefined) throw new Error('expected a route to the upstream');
    await expect(connector.connect(route, context)).rejects.toThrow('nobody there');
  };
  for (let number = 1; number <= 50; number += 1) await dialFailsAt(number);
  expect(outliers.ejected).toBe(50);
  vi.advanceTimersByTime(HOUR_MS + 1);
  await dialFailsAt(51);
  expect(outliers.ejected).toBe(1);
  outliers.clear();
});
