import { describe, expect, it } from 'vitest';
import { parseHosts } from '../src/names/hosts-file.ts';
import { parseNsswitch } from '../src/names/nsswitch.ts';
import { parseResolvConf } from '../src/names/resolv-conf.ts';

describe('a hosts file', () => {
  const hosts = parseHosts(`
# comment
127.0.0.1\tlocalhost  # and more
::1 localhost ip6-localhost
10.0.0.1 DB.internal db
10.0.0.2 db.internal.
10.0.0.1 db
fe80::1%lo link
not-an-address nobody
10.0.0.9
`);

  it.each([
    ['localhost', ['127.0.0.1', '::1']],
    ['ip6-localhost', ['::1']],
    ['db.internal', ['10.0.0.1', '10.0.0.2']],
    ['db', ['10.0.0.1']],
    ['link', ['fe80::1%lo']],
    ['nobody', undefined],
    ['and', undefined],
  ])('has for %s the addresses %j', (name, addresses) => {
    expect(hosts.get(name)).toEqual(addresses);
  });
});

describe('a hosts file with one name on many lines', () => {
  const timeOf = (addresses: number): number => {
    const lines = Array.from(
      { length: addresses },
      (_, index) => `10.${index >> 16}.${(index >> 8) % 256}.${index % 256} db`,
    );
    const before = performance.now();
    expect(parseHosts(lines.join('\n')).get('db')).toHaveLength(addresses);
    return performance.now() - before;
  };

  it('is read in time proportional to their number', () => {
    timeOf(1_000);
    const few = Math.min(timeOf(7_500), timeOf(7_500));
    // Linear would be a factor of 8, quadratic a factor of 64.
    expect(timeOf(60_000) / few).toBeLessThan(32);
  });
});

describe('resolv.conf', () => {
  it.each([
    ['', { servers: ['127.0.0.1'], isDefault: true, search: [], ndots: 1, timeoutMs: 2_000, attempts: 2 }],
    ['nameserver 10.0.0.1\nnameserver ::1 # x\nnameserver nonsense', { servers: ['10.0.0.1', '::1'] }],
    ['nameserver [127.0.0.1]:5353', { servers: ['[127.0.0.1]:5353'], isDefault: false }],
    ['nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\nnameserver 1.1.1.4', { servers: { length: 3 } }],
    ['search a.example B.example.\n', { search: ['a.example', 'b.example'] }],
    ['search a.example\ndomain b.example c.example', { search: ['b.example'] }],
    ['options ndots:5 timeout:1 attempts:3', { ndots: 5, timeoutMs: 1_000, attempts: 3 }],
    ['options timeout:30 attempts:99 ndots:99', { ndots: 15, timeoutMs: 2_000, attempts: 5 }],
    ['options timeout:0 attempts:0 edns0', { timeoutMs: 1_000, attempts: 1 }],
    ['nameserver fe80::1%eth0\nnameserver 10.0.0.1', { servers: ['10.0.0.1'] }],
    ['nameserver fe80::1%eth0', { servers: [] }],
    ['; nameserver 10.0.0.1', { servers: ['127.0.0.1'] }],
  ])('%j is parsed as %j', (text, expected) => {
    expect(parseResolvConf(text, 'gw1')).toMatchObject(expected);
  });
});

describe('a resolv.conf on a machine whose name has a domain', () => {
  it.each([
    ['', 'gw1.DC1.example.', ['dc1.example']],
    ['search a.example', 'gw1.dc1.example', ['a.example']],
    ['domain .', 'gw1.dc1.example', []],
    ['', 'gw1.', []],
  ])('%j on %s has the search domains %j', (text, hostName, search) => {
    expect(parseResolvConf(text, hostName).search).toEqual(search);
  });
});

describe('nsswitch.conf', () => {
  it.each([
    ['', ['files', 'dns']],
    ['passwd: files\nhosts: dns files # y', ['dns', 'files']],
    ['hosts:\tfiles mdns4_minimal [NOTFOUND=return] dns', ['files', 'mdns4_minimal!', 'dns']],
    ['hosts: files resolve [!UNAVAIL=return] dns', ['files', 'resolve!', 'dns']],
    ['hosts: files [SUCCESS=return NOTFOUND=return] dns', ['files!', 'dns']],
    ['hosts: files[NOTFOUND=continue]dns', ['files', 'dns']],
    ['hosts:', ['files', 'dns']],
  ])('%j queries %j', (text, expected) => {
    expect(parseNsswitch(text).map(({ name, isFinal }) => (isFinal ? `${name}!` : name))).toEqual(expected);
  });
});
