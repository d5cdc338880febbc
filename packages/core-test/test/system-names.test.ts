import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AddressBook, systemNames } from '@meshgate/core/parts';
import { nameServer, recorder } from '@meshgate/testkit';
import type { NameServer, Zone } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';

interface Files {
  readonly hosts?: string;
  readonly nsswitch?: string;
  /** Lines of resolv.conf in addition to the name servers. */
  readonly resolv?: string;
  /** Name of the machine. */
  readonly hostName?: string;
}

/** A resolver with files of its own, which queries stand-in name servers. */
async function system(
  zones: readonly Zone[],
  { hosts = '', nsswitch = 'hosts: files dns', resolv = '', hostName = 'gw1' }: Files = {},
) {
  const folder = await mkdtemp(join(tmpdir(), 'meshgate-names-'));
  const servers = await Promise.all(zones.map((zone) => nameServer(zone)));
  const [hostsFile, resolvConf, nsswitchConf] = [
    join(folder, 'hosts'),
    join(folder, 'resolv'),
    join(folder, 'nsswitch'),
  ];
  await writeFile(hostsFile, hosts);
  await writeFile(nsswitchConf, nsswitch);
  await writeFile(resolvConf, `${resolv}\n${serverLines(servers)}`);
  const names = systemNames({ hostsFile, resolvConf, nsswitch: nsswitchConf, hostName, platform: 'linux' });
  const resolve = (host: string) => names.resolve(host).then((found) => found.hosts);
  const [server] = servers;
  if (server === undefined) throw new Error('expected at least one zone');
  return {
    names,
    resolve,
    server,
    hostsFile,
    resolvConf,
    async [Symbol.asyncDispose]() {
      await Promise.all(servers.map((one) => one[Symbol.asyncDispose]()));
      await rm(folder, { recursive: true });
    },
  };
}

function serverLines(servers: readonly NameServer[]): string {
  return servers.map(({ server }) => `nameserver ${server}\n`).join('');
}

const A = (...addresses: string[]) => ({ addresses, ttl: 90 });

describe('the order of the system', () => {
  it('searches the hosts file first', async () => {
    await using at = await system([{ 'db.internal': { A: A('127.0.0.2') } }], { hosts: '127.0.0.1 db.internal' });
    expect(await at.resolve('DB.internal')).toEqual(['127.0.0.1']);
    expect(at.server.queries).toEqual([]);
  });

  it('queries the name servers first when nsswitch.conf says so', async () => {
    await using at = await system([{ 'db.internal': { A: A('127.0.0.2') } }], {
      hosts: '127.0.0.1 db.internal\n127.0.0.3 file.internal',
      nsswitch: 'hosts: dns files',
    });
    expect(await at.resolve('db.internal')).toEqual(['127.0.0.2']);
    expect(await at.resolve('file.internal')).toEqual(['127.0.0.3']);
  });

  it('stops where nsswitch.conf makes "not found" final', async () => {
    await using at = await system([{ 'db.internal': { A: A('127.0.0.2') } }], {
      nsswitch: 'hosts: files [NOTFOUND=return] dns',
    });
    await expect(at.resolve('db.internal')).rejects.toMatchObject({ kind: 'absent' });
    expect(at.server.queries).toEqual([]);
  });

  it('queries name servers even if an unknown service is listed', async () => {
    await using at = await system([{ 'db.internal': { A: A('127.0.0.2') } }], {
      nsswitch: 'hosts: mymachines resolve [!UNAVAIL=return] files myhostname dns',
    });
    expect(await at.resolve('db.internal')).toEqual(['127.0.0.2']);
  });

  it.each(['localhost', 'LOCALHOST.', 'app.localhost'])('never queries name servers for %s', async (name) => {
    await using at = await system([{ localhost: { A: A('192.0.2.1') }, 'app.localhost': { A: A('192.0.2.1') } }]);
    expect(await at.resolve(name)).toEqual(['127.0.0.1', '::1']);
    expect(at.server.queries).toEqual([]);
  });

  it('finds every one of twenty names of the hosts file at once while no name server responds', async () => {
    const lines = Array.from({ length: 20 }, (_, index) => `127.0.0.${index + 1} host-${index}.internal`);
    await using at = await system([{}], { hosts: lines.join('\n') });
    const found = await Promise.all(lines.map((_, index) => at.resolve(`host-${index}.internal`)));
    expect(found.flat()).toEqual(lines.map((line) => line.split(' ')[0]));
    expect(at.server.queries).toEqual([]);
  });
});

describe('files as people write them', () => {
  const LATIN_1 = Buffer.from('# B\u{FC}ro M\u{FC}nchen\n', 'latin1');

  it('may have comments in another encoding than UTF-8', async () => {
    await using at = await system([{ 'web.internal': { A: A('127.0.0.2') } }]);
    await writeFile(at.hostsFile, Buffer.concat([LATIN_1, Buffer.from('127.0.0.5 db.internal\n')]));
    await writeFile(at.resolvConf, Buffer.concat([LATIN_1, Buffer.from(serverLines([at.server]))]));
    expect(await at.resolve('db.internal')).toEqual(['127.0.0.5']);
    expect(await at.resolve('web.internal')).toEqual(['127.0.0.2']);
  });

  it('are named by the failure when they cannot be read', async () => {
    await using at = await system([{}]);
    await rm(at.hostsFile);
    await mkdir(at.hostsFile);
    await expect(at.resolve('db.internal')).rejects.toThrow(
      `; ${at.hostsFile} cannot be read: expected a regular file, found a folder`,
    );
  });

  it('may name only link-local servers, which the C library queries', async () => {
    await using at = await system([{}]);
    await writeFile(at.resolvConf, 'nameserver fe80::1%lo\n');
    await expect(at.resolve('nobody.invalid')).rejects.toThrow(/^getaddrinfo E/);
  });
});

describe('search domains', () => {
  const zone: Zone = {
    'db.b.example': { A: A('10.0.0.1') },
    'a.b': { A: A('10.0.0.2') },
    'x.y.b.example': { A: A('10.0.0.3') },
  };
  const resolv = 'search a.example b.example';

  it('are appended to a name without enough dots, in their order', async () => {
    await using at = await system([zone], { resolv });
    expect(await at.resolve('db')).toEqual(['10.0.0.1']);
    expect(at.server.queries.filter((question) => question.startsWith('A '))).toEqual([
      'A db.a.example',
      'A db.b.example',
    ]);
  });

  it('come after the name itself when it has enough dots', async () => {
    await using at = await system([zone], { resolv });
    expect(await at.resolve('x.y')).toEqual(['10.0.0.3']);
    expect(at.server.queries[0]).toMatch(/ x\.y$/);
  });

  it('come first for a name with fewer dots than ndots', async () => {
    await using at = await system([zone], { resolv: `${resolv}\noptions ndots:5` });
    expect(await at.resolve('a.b')).toEqual(['10.0.0.2']);
    expect(at.server.queries[0]).toMatch(/ a\.b\.a\.example$/);
  });

  it('are not tried for a name that ends in a dot', async () => {
    await using at = await system([zone], { resolv });
    await expect(at.resolve('db.')).rejects.toMatchObject({ kind: 'absent' });
  });
});

describe('a resolv.conf without search domains', () => {
  it('has that of the machine', async () => {
    await using at = await system([{ 'db.dc1.example': { A: A('10.0.0.1') } }], { hostName: 'gw1.dc1.example' });
    expect(await at.resolve('db')).toEqual(['10.0.0.1']);
  });
});

describe('two families', () => {
  it('give all their addresses and the shorter TTL', async () => {
    await using at = await system([
      { 'db.example': { A: { addresses: ['192.0.2.7'], ttl: 90 }, AAAA: { addresses: ['2001:db8::7'], ttl: 45 } } },
    ]);
    expect(await at.names.resolve('db.example')).toEqual({ hosts: ['192.0.2.7', '2001:db8::7'], ttlSeconds: 45 });
  });

  it.each([
    ['AAAA', { A: A('127.0.0.1'), AAAA: 'drop' }, ['127.0.0.1']],
    ['A', { A: 'drop', AAAA: A('::1') }, ['::1']],
  ] as const)('do not wait for each other: %s is dropped', async (_family, answers, expected) => {
    await using at = await system([{ 'db.internal': answers }]);
    const start = performance.now();
    expect(await at.resolve('db.internal')).toEqual(expected);
    // The dropped query times out after four seconds.
    expect(performance.now() - start).toBeLessThan(2_000);
  });

  it.each(['none', 'NXDOMAIN', 'SERVFAIL', 'REFUSED'] as const)(
    'give those of one when the other returns %s',
    async (AAAA) => {
      await using at = await system([{ 'db.internal': { A: A('127.0.0.1'), AAAA } }]);
      expect(await at.resolve('db.internal')).toEqual(['127.0.0.1']);
    },
  );

  it('may be a thousand, which keep their time to live', async () => {
    const addresses = Array.from({ length: 1_000 }, (_, index) => `127.0.${index >> 8}.${index % 256}`);
    await using at = await system([{ 'db.internal': { A: { addresses, ttl: 90, truncated: true } } }]);
    expect(await at.names.resolve('db.internal')).toMatchObject({ hosts: addresses, ttlSeconds: 90 });
  });

  it('give addresses that exceed a packet, over TCP', async () => {
    const addresses = Array.from({ length: 200 }, (_, index) => `10.0.1.${index}`);
    await using at = await system([{ 'db.internal': { A: { addresses, truncated: true } } }]);
    expect(await at.resolve('db.internal')).toEqual(addresses);
  });
});

describe('a name without an address', () => {
  it.each([
    ['NXDOMAIN', 'NXDOMAIN', 'absent'],
    ['none', 'none', 'absent'],
    ['SERVFAIL', 'SERVFAIL', 'unavailable'],
    ['none', 'SERVFAIL', 'unavailable'],
    ['REFUSED', 'REFUSED', 'unavailable'],
  ] as const)('with the responses %s and %s is %s', async (a, aaaa, kind) => {
    await using at = await system([{ 'db.internal': { A: a, AAAA: aaaa } }]);
    await expect(at.resolve('db.internal')).rejects.toMatchObject({ kind });
  });

  it.each([
    ['NXDOMAIN', 'NXDOMAIN', 'no such name'],
    ['none', 'none', 'the name has no address'],
    ['none', 'NXDOMAIN', 'the name has no address'],
  ] as const)('with the responses %s and %s, and search domains: the reason is "%s"', async (a, aaaa, reason) => {
    await using at = await system([{ 'db.internal': { A: a, AAAA: aaaa } }], { resolv: 'search a.example b.example' });
    await expect(at.resolve('db.internal')).rejects.toThrow(`${reason} (name server ${at.server.server})`);
  });

  it('is unavailable when no server responds, with the queried servers in the reason', async () => {
    await using at = await system([{ 'db.internal': { A: 'drop', AAAA: 'drop' } }], {
      resolv: 'options timeout:1 attempts:1',
    });
    await expect(at.resolve('db.internal')).rejects.toMatchObject({
      kind: 'unavailable',
      message: `no response (name server ${at.server.server})`,
    });
  });

  it.each(['SERVFAIL', 'REFUSED', 'drop'] as const)(
    'is found with the next server when the first has %s',
    async (first) => {
      await using at = await system([
        { 'db.internal': { A: first, AAAA: first } },
        { 'db.internal': { A: A('10.0.0.1') } },
      ]);
      expect(await at.resolve('db.internal')).toEqual(['10.0.0.1']);
      const requested = at.server.queries.length;
      expect(await at.resolve('db.internal')).toEqual(['10.0.0.1']);
      expect(at.server.queries.length).toBeLessThanOrEqual(requested + 1);
    },
  );
});

describe('a name server that takes longer than the timeout', () => {
  const options = { resolv: 'options timeout:1 attempts:2' };

  it('is still listened to while it is queried again', async () => {
    await using at = await system([{ 'db.internal': { A: { ...A('10.0.0.1'), delayed: true } } }], options);
    expect(await at.resolve('db.internal')).toEqual(['10.0.0.1']);
  });

  it('is still listened to while the next one is queried, which does not respond', async () => {
    await using slow = await nameServer({ 'db.internal': { A: { ...A('10.0.0.1'), delayed: true } } });
    const silent = { 'db.internal': { A: 'drop', AAAA: 'drop' } } as const;
    await using at = await system([silent], { resolv: `${options.resolv}\nnameserver ${slow.server}` });
    expect(await at.resolve('db.internal')).toEqual(['10.0.0.1']);
  });

  it('for one name has the time of all others, however quickly it has answered for them', async () => {
    const quick = Array.from({ length: 12 }, (_, index) => `quick${index}.internal`);
    const zone = Object.fromEntries(quick.map((name) => [name, { A: A('10.0.0.2') }]));
    const delayed = { A: { ...A('10.0.0.1'), delayed: true } };
    await using at = await system([{ ...zone, 'db.internal': delayed }], { resolv: 'options timeout:2 attempts:2' });
    for (const name of quick) await at.resolve(name);
    expect(await at.resolve('db.internal')).toEqual(['10.0.0.1']);
  });
});

describe('the files of the system', () => {
  it('are followed: a hosts file that is written', async () => {
    await using at = await system([{}], { hosts: '127.0.0.1 db.internal' });
    expect(await at.names.hasChanged?.()).toBe(false);
    await writeFile(at.hostsFile, '127.0.0.9 db.internal');
    expect(await at.names.hasChanged?.()).toBe(true);
    expect(await at.names.hasChanged?.()).toBe(false);
    expect(await at.resolve('db.internal')).toEqual(['127.0.0.9']);
  });

  it('are followed: a resolv.conf that is replaced, while the old server does not respond', async () => {
    await using at = await system([{ 'db.internal': { A: 'drop', AAAA: 'drop' } }], {
      resolv: 'options timeout:1 attempts:1',
    });
    await using next = await nameServer({ 'db.internal': { A: A('10.0.0.2') } });
    const old = at.resolve('db.internal').catch(() => 'no response');
    await at.server.queried('A db.internal');
    await writeFile(`${at.resolvConf}.new`, `nameserver ${next.server}`);
    await rename(`${at.resolvConf}.new`, at.resolvConf);
    expect(await at.resolve('db.internal')).toEqual(['10.0.0.2']);
    expect(await old).toBe('no response');
  });

  it('may be missing', async () => {
    const names = systemNames({
      hostsFile: '/nonexistent/h',
      resolvConf: '/nonexistent/r',
      nsswitch: '/nonexistent/n',
    });
    expect((await names.resolve('localhost')).hosts).toEqual(['127.0.0.1', '::1']);
  });
});

describe('an address book over the system', () => {
  it('has the new addresses soon after a change of the hosts file, long before the old ones expire', async () => {
    await using at = await system([{ 'db.internal': { A: A('10.0.0.1') } }]);
    const book = new AddressBook(recorder(), at.names);
    const find = async () => (await book.find({ host: 'db.internal', port: 1 })).map(({ host }) => host);
    expect(await find()).toEqual(['10.0.0.1']);
    await writeFile(at.hostsFile, '10.0.0.9 db.internal');
    await expect.poll(find, { timeout: 10_000, interval: 50 }).toEqual(['10.0.0.9']);
  });

  it('queries the name server once for many waiters', async () => {
    await using at = await system([{ 'db.internal': { A: A('10.0.0.1') } }]);
    const book = new AddressBook(recorder(), at.names);
    await Promise.all(Array.from({ length: 50 }, () => book.find({ host: 'db.internal', port: 1 })));
    expect(at.server.queries.filter((question) => question === 'A db.internal')).toHaveLength(1);
  });
});
