import { createServer } from 'node:http';
import { Cell, openScope } from '@meshgate/core/parts';
import { expect, it } from 'vitest';
import { openAgent } from '../src/agent.ts';
import { inventoryOfNodes } from '../src/inventory.ts';
import { ServiceHealth, CONFIRM_MS } from '../src/service-health.ts';
import type { Registered } from '../src/service-health.ts';
import { onLoopback } from './loopback.ts';
import { scriptedAgent } from './scripted-agent.ts';
import type { Scripted } from './scripted-agent.ts';

function node(...names: string[]): object {
  const proxies = names.map((name) => ({
    ID: `${name}-proxy`,
    Service: `${name}-proxy`,
    Kind: 'connect-proxy',
    Proxy: { DestinationServiceName: name },
    ModifyIndex: 5,
  }));
  return { Node: 'one', Services: [...names.map((name) => ({ ID: name, Service: name })), ...proxies] };
}

function registered(index: number, ...names: string[]): Registered {
  const inventory = inventoryOfNodes([node(...names)]);
  if (inventory === undefined) throw new Error('expected an inventory, found none');
  return { inventory, resolvers: new Map(), links: new Map(), index };
}

/** The health of services from the agent at `address`; stops with the test. */
function healthAt(address: string) {
  const changes = new Cell<void>();
  const scope = openScope();
  const agent = openAgent({ address }, 12);
  const health = new ServiceHealth(() => changes.set());
  health.run(agent, scope.signal);
  return {
    health,
    async until(holds: () => boolean): Promise<void> {
      while (!holds()) await changes.changed(changes.revision, scope.signal);
    },
    async [Symbol.asyncDispose]() {
      scope.end();
      health.rest();
      await agent.close();
    },
  };
}

function shown({ services }: ServiceHealth): string {
  return services
    .flatMap(({ instances }) => instances.map(({ id }) => id))
    .sort()
    .join(' ');
}

function respond(index: number, id: string): Scripted {
  const instance = { Node: { Node: 'one', Address: '10.0.0.1' }, Service: { ID: id, Service: 'db-proxy', Port: 80 } };
  return { index: String(index), body: JSON.stringify([instance]) };
}

it('a response newer than the inventory is queried again after a while: the change may have been reverted', async () => {
  await using server = await scriptedAgent([respond(9, 'short-lived'), respond(12, 'db'), respond(12, 'db')]);
  await using under = healthAt(server.address);
  const { health, until } = under;
  const start = performance.now();
  for (const [later, ...expected] of [
    [0, 'short-lived', false, 1],
    [0, 'short-lived', false, 1],
    [2 * CONFIRM_MS, 'db', false, 2],
    [4 * CONFIRM_MS, 'db', true, 3],
    [9 * CONFIRM_MS, 'db', true, 3],
  ] as const) {
    health.update(registered(5, 'db'), start + later);
    await until(() => health.converged);
    expect([shown(health), health.confirmed, server.queried.length]).toEqual(expected);
  }
});

it('a response that is older than the last removes nothing, and is queried again', async () => {
  const none = { index: '5', body: '[]' };
  await using server = await scriptedAgent([respond(9, 'db'), none, none, respond(12, 'db2')]);
  await using under = healthAt(server.address);
  const { health, until } = under;
  const start = performance.now();
  for (const [later, ...expected] of [
    [0, 'db', true, 1],
    [1, 'db', false, 2],
    [2 * CONFIRM_MS, 'db', false, 3],
    [4 * CONFIRM_MS, 'db2', true, 4],
  ] as const) {
    health.update(later === 0 ? registered(9, 'db') : { ...registered(12, 'db'), resolvers: CHANGED }, start + later);
    await until(() => health.converged);
    expect([shown(health), health.confirmed, server.queried.length]).toEqual(expected);
  }
});

/** Invalidates the service, so that it is queried again. */
const CHANGED = new Map([['default/db', { subsets: {} }]]);

it('a response as old as the inventory is queried once', async () => {
  await using server = await scriptedAgent([respond(5, 'db')]);
  await using under = healthAt(server.address);
  const { health, until } = under;
  health.update(registered(5, 'db'), 0);
  await until(() => health.converged);
  health.update(registered(8, 'db'), 2 * CONFIRM_MS);
  expect([shown(health), health.confirmed, server.queried.length]).toEqual(['db', true, 1]);
});

it.each([500, 403, 404])(
  'a service whose query fails with %i keeps its last response; the others change',
  async (status) => {
    let broken: string | undefined;
    let suffix = '';
    const server = createServer((incoming, outgoing) => {
      const name = /connect\/(\w+)/.exec(incoming.url ?? '')?.[1] ?? '';
      if (name === broken) return void outgoing.writeHead(status).end('no');
      outgoing.setHeader('X-Consul-Index', '5').end(respond(5, `${name}${suffix}`).body);
    });
    await using listening = await onLoopback(server);
    await using under = healthAt(listening.address);
    const { health, until } = under;
    health.update(registered(5, 'a', 'b', 'c'), 0);
    await until(() => health.converged);
    [broken, suffix] = ['a', '2'];
    const changed = registered(5, 'a', 'b', 'c');
    const services = new Map(
      [...changed.inventory.services].map(([key, one]) => [key, { ...one, digest: `${one.digest}!` }]),
    );
    health.update({ ...changed, inventory: { ...changed.inventory, services } }, 1);
    await until(() => health.failures.length > 0 && shown(health) === 'a b2 c2');
    expect(health.failures.map(({ message }) => message)).toEqual([
      expect.stringContaining(
        `service a: keeping last instances: Consul agent: /v1/health/connect/a: expected status 200, found ${status}`,
      ),
    ]);
  },
);

it('thousands of services converge although the agent limits the query rate', async () => {
  let room = 400;
  const refill = setInterval(() => (room = 400), 50);
  let refused = 0;
  const server = createServer((incoming, outgoing) => {
    room -= 1;
    if (room < 0) refused += 1;
    if (room < 0) return void outgoing.writeHead(429).end('Your IP is issuing too many concurrent connections');
    const name = /connect\/(\w+)/.exec(incoming.url ?? '')?.[1] ?? '';
    outgoing.setHeader('X-Consul-Index', '5').end(respond(5, name).body);
  });
  await using listening = await onLoopback(server);
  await using under = healthAt(listening.address);
  const { health, until } = under;
  health.update(registered(5, ...Array.from({ length: 2_000 }, (_, at) => `s${at}`)), 0);
  await until(() => health.converged);
  clearInterval(refill);
  expect([health.services.length, health.failures.length]).toEqual([2_000, 0]);
  // Rejected queries slow down all others, so only few were rejected.
  expect(refused).toBeLessThan(400);
});

it.each([301, 400])(
  'a service whose name the agent cannot handle (%i) is left out with a warning, and not queried again',
  async (status) => {
    let queried = 0;
    const server = createServer((incoming, outgoing) => {
      const isOdd = incoming.url?.includes('odd') === true;
      if (isOdd) queried += 1;
      if (isOdd) return void outgoing.writeHead(status).end('no');
      outgoing.setHeader('X-Consul-Index', '5').end(respond(5, 'db').body);
    });
    await using listening = await onLoopback(server);
    await using under = healthAt(listening.address);
    const { health, until } = under;
    health.update(registered(5, 'db', 'odd'), 0);
    await until(() => health.converged);
    health.update(registered(5, 'db', 'odd'), 1);
    await until(() => health.converged);
    expect({ shown: shown(health), failures: health.failures, queried }).toEqual({
      shown: 'db',
      failures: [],
      queried: 1,
    });
    expect(health.rejected).toEqual([expect.stringContaining('service "odd" is not routed')]);
  },
);
