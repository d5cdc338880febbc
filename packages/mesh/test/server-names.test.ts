import { describe, expect, it } from 'vitest';
import {
  anyNameBelow,
  datacenterServerName,
  peeredServiceServerName,
  peeringServersName,
  queryServerName,
  serverName,
  serversName,
  serviceServerName,
} from '../src/index.ts';

const trustDomain = '88674a45-183b-4d14-02bd-f42cffaa3215.consul';
const db = { service: 'db', datacenter: 'dc1', trustDomain };
const dc2 = { datacenter: 'dc2', trustDomain };

const CASES: readonly (readonly [what: string, found: string, expected: string])[] = [
  ['a service', serviceServerName(db), `db.default.dc1.internal.${trustDomain}`],
  ['an empty namespace', serviceServerName({ ...db, namespace: '' }), `db.default.dc1.internal.${trustDomain}`],
  ['a namespace', serviceServerName({ ...db, namespace: 'shop' }), `db.shop.dc1.internal.${trustDomain}`],
  ['a subset', serviceServerName({ ...db, subset: 'v1' }), `v1.db.default.dc1.internal.${trustDomain}`],
  [
    'the default partition',
    serviceServerName({ ...db, partition: 'default' }),
    `db.default.dc1.internal.${trustDomain}`,
  ],
  [
    'a subset in a namespace',
    serviceServerName({ ...db, subset: 'v1', namespace: 'shop' }),
    `v1.db.shop.dc1.internal.${trustDomain}`,
  ],
  [
    'another partition',
    serviceServerName({ ...db, namespace: 'shop', partition: 'eu' }),
    `db.shop.eu.dc1.internal-v1.${trustDomain}`,
  ],
  [
    'a subset in another partition',
    serviceServerName({ ...db, subset: 'v1', partition: 'eu' }),
    `v1.db.default.eu.dc1.internal-v1.${trustDomain}`,
  ],
  ['upper case', serviceServerName({ ...db, service: 'DB' }), `db.default.dc1.internal.${trustDomain}`],
  ['a service with a dot', serviceServerName({ ...db, service: 'a.b' }), `a.b.default.dc1.internal.${trustDomain}`],
  ['a datacenter', datacenterServerName(dc2), `dc2.internal.${trustDomain}`],
  ['a partition', datacenterServerName({ ...dc2, partition: 'eu' }), `eu.dc2.internal-v1.${trustDomain}`],
  ['any service there', anyNameBelow(datacenterServerName(dc2)), `*.dc2.internal.${trustDomain}`],
  ['a prepared query', queryServerName('near', dc2), `near.default.dc2.query.${trustDomain}`],
  [
    'a peered service',
    peeredServiceServerName({ service: 'db', peer: 'alpha', trustDomain }),
    `db.default.default.alpha.external.${trustDomain}`,
  ],
  ['the servers of a peering', peeringServersName(dc2), `server.dc2.peering.${trustDomain}`],
  ['any server', serversName({ datacenter: 'dc2', dnsDomain: 'consul' }), 'server.dc2.consul'],
  ['a DNS domain with its dot', serversName({ datacenter: 'dc2', dnsDomain: 'consul.' }), 'server.dc2.consul'],
  ['one server', serverName('Node-1', { datacenter: 'dc2', dnsDomain: 'consul.' }), 'node-1.server.dc2.consul'],
];

describe('server names', () => {
  it.each(CASES)('name %s', (_what, found, expected) => {
    expect(found).toBe(expected);
  });
});
