import { describe, expect, it } from 'vitest';
import { digestsOf, inventoryOfNames, inventoryOfNodes, linksOf } from '../src/inventory.ts';
import type { Inventory } from '../src/inventory.ts';

const APP = { ID: 'db-1', Service: 'db', Port: 80, ModifyIndex: 5 };
const SIDECAR = {
  ID: 'db-1-proxy',
  Service: 'db-sidecar-proxy',
  Kind: 'connect-proxy',
  Proxy: { DestinationServiceName: 'db' },
  ModifyIndex: 6,
};
const PLAIN = { ID: 'plain', Service: 'plain', ModifyIndex: 7 };
const LEGACY = { ID: 'legacy', Service: 'legacy', ModifyIndex: 8 };
const GATEWAY = { ID: 'tgw', Service: 'tgw', Kind: 'terminating-gateway', ModifyIndex: 9 };
const CHECK = { CheckID: 'up', Status: 'passing', ServiceID: 'db-1-proxy', Output: 'well' };
const NODE = {
  Node: 'one',
  Address: '10.0.0.1',
  TaggedAddresses: { wan: '198.18.0.1' },
  Services: [APP, SIDECAR, PLAIN, LEGACY, GATEWAY],
  Checks: [CHECK, { CheckID: 'serfHealth', Status: 'passing', ServiceID: '' }],
};
const LINKS = new Map([['default/tgw', ['default/legacy', 'default/nowhere']]]);

describe('the inventory', () => {
  it('lists every name, and knows which of them have a Connect proxy', () => {
    const digests = digestsOf(inventory([NODE]), LINKS);
    const names = ['default/db', 'default/db-sidecar-proxy', 'default/plain', 'default/legacy', 'default/tgw'];
    expect([...digests.keys()]).toEqual(names);
    expect(claimed(digests)).toEqual(['default/db', 'default/legacy']);
  });

  it.each<readonly [what: string, after: object, changed: readonly string[]]>([
    ['nothing', {}, []],
    ['the output of a check', { Checks: [{ ...CHECK, Output: 'very well' }, NODE.Checks[1]] }, []],
    ['the status of a check', { Checks: [{ ...CHECK, Status: 'critical' }, NODE.Checks[1]] }, ['default/db']],
    ['the sidecar', { Services: [APP, { ...SIDECAR, ModifyIndex: 10 }, PLAIN, LEGACY, GATEWAY] }, ['default/db']],
    ['the application', { Services: [{ ...APP, ModifyIndex: 10 }, SIDECAR, PLAIN, LEGACY, GATEWAY] }, []],
    [
      'a terminating gateway',
      { Services: [APP, SIDECAR, PLAIN, LEGACY, { ...GATEWAY, ModifyIndex: 10 }] },
      ['default/legacy'],
    ],
    ['the node’s address', { Address: '10.0.0.2' }, ['default/db', 'default/legacy']],
    ['the node’s wan address', { TaggedAddresses: { wan: '198.18.0.2' } }, ['default/db', 'default/legacy']],
    ['the health of the node', { Checks: [CHECK] }, ['default/db', 'default/legacy']],
  ])('shows by its digests which services are affected by a change of %s', (_what, after, changed) => {
    const [before, now] = [digestsOf(inventory([NODE]), LINKS), digestsOf(inventory([{ ...NODE, ...after }]), LINKS)];
    expect([...now].filter(([key, digest]) => before.get(key) !== digest).map(([key]) => key)).toEqual(changed);
  });

  it('queries a service again when one changes whose name differs in case only: to Consul they are the same', () => {
    const upper = [
      { ...APP, Service: 'DB' },
      { ...LEGACY, Service: 'Legacy' },
    ];
    const services = (gateway: number, sidecar: number): object[] => [
      ...upper,
      { ...SIDECAR, ModifyIndex: sidecar },
      { ...GATEWAY, Service: 'Tgw', ModifyIndex: gateway },
    ];
    const links = linksOf([{ Name: 'tgw', Services: [{ Name: 'LEGACY' }] }]);
    const digests = (gateway: number, sidecar: number): ReadonlyMap<string, string | undefined> =>
      digestsOf(inventory([{ ...NODE, Services: services(gateway, sidecar) }]), links);
    const before = digests(1, 1);
    expect(claimed(before)).toEqual(['default/DB', 'default/Legacy']);
    expect(digests(1, 2).get('default/DB')).not.toBe(before.get('default/DB'));
    expect(digests(1, 2).get('default/Legacy')).toBe(before.get('default/Legacy'));
    expect(digests(2, 1).get('default/Legacy')).not.toBe(before.get('default/Legacy'));
  });

  it('knows that a proxy name has a proxy', () => {
    const outer = { ...SIDECAR, ID: 'outer', Service: 'outer', Proxy: { DestinationServiceName: 'db-sidecar-proxy' } };
    const links = new Map([['default/tgw', ['default/outer']]]);
    const digests = digestsOf(inventory([{ ...NODE, Services: [SIDECAR, outer, GATEWAY] }]), links);
    expect(claimed(digests)).toEqual(['default/db-sidecar-proxy', 'default/outer']);
  });

  it('applies a wildcard link to every name, and distinguishes it from a link by name', () => {
    const wild = digestsOf(inventory([NODE]), new Map([['default/tgw', ['default/*']]]));
    expect(claimed(wild)).toEqual([...wild.keys()]);
    expect(wild.get('default/legacy')).not.toBe(digestsOf(inventory([NODE]), LINKS).get('default/legacy'));
  });

  it('is blind without nodes, partial without Consul’s own servers', () => {
    expect(inventory([])).toMatchObject({ blind: true, partial: true });
    expect(inventory([NODE])).toMatchObject({ blind: false, partial: true });
    expect(inventory([{ ...NODE, Services: [{ ID: 'consul', Service: 'consul' }] }])).toMatchObject({ partial: false });
  });

  it('made of names only has no details', () => {
    const named = inventoryOfNames({ consul: [], db: ['tag'] });
    expect([...(named?.services.values() ?? [])].map(({ name, digest }) => [name, digest])).toEqual([
      ['consul', undefined],
      ['db', undefined],
    ]);
  });

  it.each([null, {}, 'text'])('is rejected for %j', (json) => {
    expect(inventoryOfNodes(json)).toBeUndefined();
  });
});

function inventory(nodes: readonly object[]): Inventory {
  const read = inventoryOfNodes(nodes);
  if (read === undefined) throw new Error('expected an inventory, found none');
  return read;
}

function claimed(digests: ReadonlyMap<string, string | undefined>): readonly string[] {
  return [...digests].filter(([, digest]) => digest !== '').map(([key]) => key);
}
