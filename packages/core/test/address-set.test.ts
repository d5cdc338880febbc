import { BlockList, isIP } from 'node:net';
import { describe, expect, it } from 'vitest';
import { addressSet, isAddressOrBlock } from '../src/pipeline/address-set.ts';
import { readAddress } from '../src/pipeline/ip-address.ts';

/** Deterministic pseudo-random numbers below `limit`. */
function numbers(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => (state = (state * 48_271) % 2_147_483_647) % limit;
}

describe('a set of addresses', () => {
  it.each([
    [['10.0.0.0/8'], '10.255.255.255', true],
    [['10.0.0.0/8'], '11.0.0.0', false],
    [['10.0.0.77/8'], '10.1.1.1', true],
    [['0.0.0.0/0'], '255.255.255.255', true],
    [['0.0.0.0/0'], '2001:db8::1', false],
    [['::/0'], 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', true],
    [['::/0'], '192.0.2.1', false],
    [['192.0.2.1'], '::ffff:192.0.2.1', true],
    [['::ffff:192.0.2.0/120'], '192.0.2.9', true],
    [['::ffff:0:0/96'], '192.0.2.9', true],
    [['2001:db8::/32'], '2001:db8:ffff::1', true],
    [['2001:db8::/32'], '2001:db9::', false],
    [['2001:DB8::1'], '2001:db8:0:0::1', true],
    [['fe80::/10'], 'fe80::1%eth0', true],
    [['unix'], 'unix:/run/app.sock', true],
    [['10.0.0.0/8'], 'unix:/run/app.sock', false],
    [[], '192.0.2.1', false],
    [['192.0.2.0/25', '192.0.2.128/25', '192.0.2.3'], '192.0.2.200', true],
  ])('%j contains %s: %s', (entries, host, isIn) => {
    expect(addressSet(entries).has(host)).toBe(isIn);
  });

  it('is one range where blocks overlap or touch', () => {
    expect(addressSet(['192.0.2.0/25', '192.0.2.128/25', '192.0.2.3', '192.0.3.0']).size).toBe(1);
    expect(addressSet(['255.255.255.255', '255.255.255.254', '0.0.0.0']).size).toBe(2);
    expect(addressSet(['::', '::1', '::3', 'ffff::/16', 'ffff:ffff::/32']).size).toBe(3);
  });

  it('agrees with net.BlockList, for any contents', () => {
    const random = numbers(7);
    const v4 = (): string => [10, random(2), random(4), random(256)].join('.');
    const v6 = (): string => `2001:db8:${random(3)}::${random(65_536).toString(16)}:${random(9)}`;
    const [entries, list] = [[] as string[], new BlockList()];
    for (let index = 0; index < 300; index += 1) {
      const isV4 = random(2) === 0;
      const [host, prefix] = [isV4 ? v4() : v6(), isV4 ? 20 + random(13) : 60 + random(69)];
      entries.push(`${host}/${prefix}`);
      list.addSubnet(host, prefix, isV4 ? 'ipv4' : 'ipv6');
    }
    const set = addressSet(entries);
    for (let index = 0; index < 4_000; index += 1) {
      const [one, other] = [v4(), v6()];
      expect([one, set.has(one)]).toEqual([one, list.check(one, 'ipv4')]);
      expect([other, set.has(other)]).toEqual([other, list.check(other, 'ipv6')]);
    }
  });

  it('accepts addresses and blocks, and nothing else', () => {
    const wrong = ['', 'x', '10.0.0', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/-1', '::/129', '010.0.0.1', 'fe80::1%eth0'];
    expect(wrong.filter(isAddressOrBlock)).toEqual([]);
    expect(['unix', '10.0.0.1', '10.0.0.0/0', '::1/128', '::ffff:1.2.3.4'].every(isAddressOrBlock)).toBe(true);
    expect(() => addressSet(['10.0.0.0/33'])).toThrow(
      'expected an address, a block such as 10.0.0.0/8, or unix, found "10.0.0.0/33"',
    );
  });

  it('of 100,000 blocks is searched in less than a microsecond', () => {
    const random = numbers(3);
    const entries = Array.from({ length: 100_000 }, (_, index) =>
      index % 2 === 0
        ? `${1 + random(220)}.${random(256)}.${random(256)}.0/28`
        : `2001:${random(65_536).toString(16)}:${random(65_536).toString(16)}::/48`,
    );
    const set = addressSet(entries);
    const hosts = entries.slice(0, 2_000).map((entry) => entry.replace(/\/.*/, ''));
    const rounds = Array.from({ length: 10 }, () => {
      const before = process.cpuUsage();
      for (const host of hosts) if (!set.has(host)) throw new Error(`expected ${host} in the set`);
      const { user, system } = process.cpuUsage(before);
      return (user + system) / hosts.length;
    });
    expect(Math.min(...rounds)).toBeLessThan(1);
  });
});

describe('an IP address', () => {
  it.each([
    '1.2.3.4',
    '255.255.255.255',
    '256.1.1.1',
    '1.2.3',
    '1.2.3.4.',
    '.1.2.3',
    '1..2.3',
    '01.2.3.4',
    '1.2.3.4.5',
    '',
    '::',
    '::1',
    '1::',
    ':1',
    '1:',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7:8',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7::',
    '::2:3:4:5:6:7:8',
    '1:2:3:4:5:6:7:8::',
    '1:2:3:4:5:6:7:8:9',
    '::ffff:1.2.3.4',
    '1:2:3:4:5:6:1.2.3.4',
    '1:2:3:4:5:6:7:1.2.3.4',
    '::1.2.3',
    '::1.2.3.4:5',
    '12345::',
    'g::',
    '::fffff',
    '1.2.3.4::',
    '::ffff:1.2.3.256',
    'fe80::1%eth0',
    '2001:DB8::A',
  ])('%s is valid if the system says so', (text) => {
    expect(readAddress(text, new Uint32Array(4)) !== 0).toBe(isIP(text) !== 0);
  });
});
