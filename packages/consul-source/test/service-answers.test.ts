import { expect, it } from 'vitest';
import { openAgent } from '../src/agent.ts';
import { inventoryOfNodes } from '../src/inventory.ts';
import { ServiceAnswers, SETTLE_MS } from '../src/service-answers.ts';
import type { Registered } from '../src/service-answers.ts';
import { scriptedAgent } from './scripted-agent.ts';

const NODE = {
  Node: 'one',
  Services: [
    { ID: 'db', Service: 'db' },
    {
      ID: 'proxy',
      Service: 'db-proxy',
      Kind: 'connect-proxy',
      Proxy: { DestinationServiceName: 'db' },
      ModifyIndex: 5,
    },
  ],
};
const { signal } = new AbortController();

it('an answer newer than the inventory is asked for again after a while: the change may have been taken back', async () => {
  await using server = await scriptedAgent([answer(9, 'short-lived'), answer(12, 'db'), answer(12, 'db')]);
  const agent = openAgent({ address: server.address }, 1);
  const answers = new ServiceAnswers(agent);
  for (const [now, ...expected] of [
    [0, 'short-lived', false, 1],
    [SETTLE_MS - 1, 'short-lived', false, 1],
    [SETTLE_MS, 'db', false, 2],
    [2 * SETTLE_MS, 'db', true, 3],
    [9 * SETTLE_MS, 'db', true, 3],
  ] as const) {
    await answers.refresh(at(5), now, signal);
    expect([shown(answers), answers.settled, server.asked.length]).toEqual(expected);
  }
  await agent.close();
});

it('an answer as old as the inventory is asked for once', async () => {
  await using server = await scriptedAgent([answer(5, 'db')]);
  const agent = openAgent({ address: server.address }, 1);
  const answers = new ServiceAnswers(agent);
  await answers.refresh(at(5), 0, signal);
  await answers.refresh(at(8), SETTLE_MS, signal);
  expect([shown(answers), answers.settled, server.asked.length]).toEqual(['db', true, 1]);
  await agent.close();
});

function at(index: number): Registered {
  const inventory = inventoryOfNodes([NODE]);
  if (inventory === undefined) throw new Error('expected an inventory, found none');
  return { inventory, resolvers: new Map(), links: new Map(), index };
}

function answer(index: number, id: string): { readonly index: string; readonly body: string } {
  const instance = { Node: { Node: 'one', Address: '10.0.0.1' }, Service: { ID: id, Service: 'db-proxy', Port: 80 } };
  return { index: String(index), body: JSON.stringify([instance]) };
}

function shown({ services }: ServiceAnswers): string {
  return services.flatMap(({ instances }) => instances.map(({ id }) => id)).join(' ');
}
