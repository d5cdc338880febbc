import { describeListenerSource, describeRouteSource } from '@meshgate/testkit';
import type { SourceHarness } from '@meshgate/testkit';
import { afterAll, beforeAll } from 'vitest';
import { consulParts, consulSource } from '../src/index.ts';
import { Consul, describeWithConsul } from './real-consul.ts';
import { register } from './register.ts';

describeWithConsul('with a real agent', () => {
  let consul: Consul;
  let changes = 0;
  // One agent for all tests: starting it takes longer than the tests, and each test uses services of its own.
  beforeAll(async () => {
    consul = await Consul.start();
    await Promise.all([moveService(), moveGateway()]);
  });
  afterAll(() => consul[Symbol.asyncDispose]());

  describeRouteSource(
    'the source of routes',
    harness(() => consulSource({ address: consul.address }), moveService),
  );
  describeListenerSource(
    'the source of listeners',
    harness(() => consulParts({ address: consul.address }).listeners, moveGateway),
  );

  async function moveService(): Promise<void> {
    changes += 1;
    await register(consul, 'db', { address: `10.0.0.${changes}` });
  }

  async function moveGateway(): Promise<void> {
    changes += 1;
    const gateway = { Kind: 'mesh-gateway', Name: 'mesh-gateway', Address: '127.0.0.1', Port: 8_000 + changes };
    await consul.put('agent/service/register', gateway);
  }
});

function harness<Source>(source: () => Source, change: () => Promise<void>): SourceHarness<Source> {
  return { create: () => Promise.resolve({ source: source(), change, dispose: () => Promise.resolve() }) };
}
