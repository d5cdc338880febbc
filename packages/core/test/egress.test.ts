// Egress routes that dial what the client names, within limits: attempts to use them as an open proxy.
import { describe, expect, it } from 'vitest';
import { refusedAddress } from '../src/egress/address-policy.ts';
import { egressConnector } from '../src/egress/egress-connector.ts';
import { ProxyError } from '../src/errors.ts';
import { addressSet } from '../src/pipeline/address-set.ts';
import { AddressBook } from '../src/names/address-book.ts';
import type { ProxyEvent } from '../src/observe.ts';
import { Connecting } from '../src/pipeline/connecting.ts';
import type { Upstream } from '../src/pipeline/connection.ts';
import { Outliers } from '../src/pipeline/outliers.ts';
import type { Route } from '../src/routes/route.ts';
import { snapshotProblems } from '../src/routes/snapshot-problems.ts';
import { formatEndpoint } from '../src/transport/endpoint.ts';
import type { Connection } from '../src/transport/transport.ts';

const PUBLIC = '93.184.216.34';
const ROUTE: Route = {
  name: 'out',
  serverNames: ['api.example.org', '*.example.com'],
  backends: [],
  egress: { port: 443 },
};

/** A network in which every dial succeeds: what was not dialled was refused. */
function harness(names: Record<string, readonly (readonly string[])[]>, own = '198.18.0.1') {
  const dialled: string[] = [];
  const queried: string[] = [];
  const events: ProxyEvent[] = [];
  const observer = { observe: (event: ProxyEvent) => void events.push(event) };
  const resolve = (host: string) => {
    queried.push(host);
    const [now = [], ...later] = names[host] ?? [];
    if (later.length > 0) names[host] = later;
    return now.length === 0 ? Promise.reject(new Error('ENOTFOUND')) : Promise.resolve({ hosts: now, ttlSeconds: 60 });
  };
  const addresses = new AddressBook(observer, { resolve }, 3);
  const inner = { connect: () => Promise.reject(new ProxyError('NO_BACKEND', 'not egress')) };
  const connector = egressConnector(inner, {
    addresses,
    outliers: new Outliers(observer),
    observer,
    limits: { connectTimeoutMs: 1_000, dials: 5 },
    keepAlive: { idleMs: 1 },
    isOwn: ({ host }) => host === own,
  });
  const local = { host: '::1', port: 1 };
  const connection = { id: '1', listener: 'l', remote: local, local, at: 0 };
  const transport = {
    dial: (to: { host: string; port: number }) => {
      dialled.push(formatEndpoint(to));
      return { done: Promise.resolve({ remote: to, destroy: () => undefined } as Connection), cut: () => undefined };
    },
  };
  return { connect, dialled, queried, events, addresses };

  function connect(serverName: string | undefined, route: Route = ROUTE): Promise<Upstream> {
    const hello = { protocol: 'tls', ...(serverName !== undefined && { serverName }) };
    const context = new Connecting({ transport, observer }, connection, hello);
    context.route = route;
    return connector.connect(route, context);
  }
}

const REFUSED = [
  '0.0.0.0',
  '10.1.2.3',
  '100.64.0.1',
  '100.127.255.255',
  '127.0.0.1',
  '127.255.255.254',
  '169.254.169.254',
  '172.16.0.1',
  '172.31.255.255',
  '192.0.0.8',
  '192.0.2.1',
  '192.88.99.1',
  '192.168.0.1',
  '198.18.0.9',
  '198.19.255.255',
  '198.51.100.1',
  '203.0.113.1',
  '224.0.0.1',
  '239.255.255.255',
  '240.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  '::ffff:93.184.216.34',
  '::ffff:127.0.0.1',
  '::93.184.216.34',
  '64:ff9b::5db8:d822',
  '64:ff9b:1::1',
  '100::1',
  '2001::1',
  '2001:0:5ef5:79fb::1',
  '2001:db8::1',
  '2002:7f00:1::1',
  '3fff::1',
  '5f00::1',
  'fc00::1',
  'fd00:ec2::254',
  'fe80::1',
  'fe80::1%eth0',
  'fec0::1',
  'ff02::1',
  '4000::1',
  '168.63.129.16',
  '64:ff9b:1::a9fe:a9fe',
  '::ffff:0:169.254.169.254',
  'localhost',
  '',
  'unix:/run/app.sock',
];

const REACHED = [
  '93.184.216.34',
  '1.1.1.1',
  '100.128.0.1',
  '172.32.0.1',
  '192.0.1.1',
  '9.255.255.255',
  '11.0.0.0',
  '223.255.255.255',
  '2606:4700::1111',
  '2a00:1450:4001::200e',
  '2001:4860:4860::8888',
];

describe('an address', () => {
  it.each(REFUSED)('%s is not dialled', (host) => expect(refusedAddress(host, undefined)).toBeTypeOf('string'));
  it.each(REACHED)('%s is dialled', (host) => expect(refusedAddress(host, undefined)).toBeUndefined());

  it('is not dialled behind a translator that is allowed', () => {
    const allowed = addressSet(['64:ff9b::/96', '64:ff9b:1::/48', '::ffff:0:0:0/96']);
    for (const prefix of ['64:ff9b::', '64:ff9b:1::', '::ffff:0:']) {
      expect(refusedAddress(`${prefix}10.0.0.1`, allowed)).toBe('it embeds 10.0.0.1: private');
      expect(refusedAddress(`${prefix}1.1.1.1`, allowed)).toBeUndefined();
    }
  });

  it('is dialled when its network is allowed, and others are not', () => {
    const allowed = addressSet(['10.1.0.0/16', 'fd00:1::/32', '127.0.0.1']);
    for (const host of ['10.1.255.1', 'fd00:1::5', '127.0.0.1']) expect(refusedAddress(host, allowed)).toBeUndefined();
    for (const host of ['10.2.0.1', 'fd00:2::5', '127.0.0.2'])
      expect(refusedAddress(host, allowed)).toBeTypeOf('string');
  });

  it('of this machine is not dialled, even if it is public, unless it is allowed', () => {
    const isLocal = (host: string): boolean => host === PUBLIC;
    expect(refusedAddress(PUBLIC, undefined, isLocal)).toBe('an address of this machine');
    expect(refusedAddress('93.184.216.35', undefined, isLocal)).toBeUndefined();
    expect(refusedAddress(PUBLIC, addressSet([PUBLIC]), isLocal)).toBeUndefined();
  });

  it.each([
    // 93.184.216.34, which is public, and then 10.0.0.1, 169.254.169.254, 127.0.0.1.
    ['64:ff9b::5db8:d822', true],
    ['2002:5db8:d822::1', true],
    ['64:ff9b::a00:1', false],
    ['64:ff9b::10.0.0.1', false],
    ['64:ff9b::a9fe:a9fe', false],
    ['2002:7f00:1::1', false],
  ])('%s of an allowed translator is dialled only if the embedded IPv4 address is public: %s', (host, isIn) => {
    const allowed = addressSet(['64:ff9b::/96', '2002::/16']);
    expect(refusedAddress(host, allowed) === undefined).toBe(isIn);
    expect(refusedAddress(host, addressSet(['64:ff9b::/96', '2002::/16', '0.0.0.0/0']))).toBeUndefined();
  });
});

describe('egress', () => {
  it('dials the server name at the port of the route, without search domains', async () => {
    const net = harness({ 'www.example.com.': [[PUBLIC]] });
    const upstream = await net.connect('www.example.com');
    expect([net.queried, net.dialled]).toEqual([['www.example.com.'], [`${PUBLIC}:443`]]);
    expect(upstream).toMatchObject({ route: { name: 'out' }, address: { host: PUBLIC, port: 443 } });
  });

  it.each([
    'example.com',
    'evilexample.com',
    'www.example.com.evil.net',
    'example.org',
    'evil.api.example.org',
    'api.example.org.',
    'www.example.com.',
    'WWW.EXAMPLE.COM',
    '127.0.0.1',
    '127.1',
    '2130706433',
    '0x7f000001',
    '0177.0.0.1',
    '[::1]',
    '::1',
    'localhost',
    '1.example.com:8080',
    'a..example.com',
    'bücher.example.com',
    '２１３.example.com',
    'a．example.com',
    '::ffff:7f00:1',
    '0',
    '00.00.00.00',
    '0x7f.0x0.0x0.0x1',
    '017700000001',
    '169.254.169.254',
    'metadata',
    'metadata.google.internal',
    'fe80::1%eth0',
    'x.example.com%eth0',
    'xexample.com',
    'example.com.evil.net.',
    'api-example.org',
    'a.b.api.example.org',
    '.example.com',
    '*.example.com',
    'a b.example.com',
    'a/../.example.com',
    'a%00.example.com',
    '',
  ])('does not even resolve %j', async (serverName) => {
    const net = harness({});
    await expect(net.connect(serverName)).rejects.toMatchObject({ code: 'REFUSED_BY_POLICY' });
    expect([net.queried, net.dialled]).toEqual([[], []]);
  });

  it('resolves no name that ends with a number, whatever the route allows', async () => {
    const net = harness({ '2130706433.': [['127.0.0.1']], '1.0x7f.': [[PUBLIC]] });
    for (const serverName of ['2130706433', '1.0x7f', '0x7f000001'])
      await expect(net.connect(serverName, { ...ROUTE, serverNames: [serverName] })).rejects.toMatchObject({
        code: 'REFUSED_BY_POLICY',
      });
    expect(net.queried).toEqual([]);
  });

  it('is not for clients without a name, nor for any name', async () => {
    const net = harness({ 'a.test.': [[PUBLIC]] });
    await expect(net.connect(undefined)).rejects.toMatchObject({ code: 'NO_SERVER_NAME' });
    await expect(net.connect('a.test', { ...ROUTE, serverNames: ['*'] })).rejects.toMatchObject({
      code: 'REFUSED_BY_POLICY',
    });
    expect(net.queried).toEqual([]);
  });

  it.each(REFUSED.filter((host) => /^[\d:a-f.]+$/.test(host) && host !== ''))(
    'does not dial a name that leads to %s',
    async (host) => {
      const net = harness({ 'x.example.com.': [[host]] });
      await expect(net.connect('x.example.com')).rejects.toMatchObject({ code: 'REFUSED_BY_POLICY' });
      expect(net.dialled).toEqual([]);
    },
  );

  it('dials the public ones of several addresses, and reports why when there is none', async () => {
    const net = harness({
      'x.example.com.': [['10.0.0.1', PUBLIC, '::1']],
      'y.example.com.': [['10.0.0.1', 'fd00:ec2::254']],
    });
    await net.connect('x.example.com');
    expect(net.dialled).toEqual([`${PUBLIC}:443`]);
    await expect(net.connect('y.example.com')).rejects.toThrow(
      /y\.example\.com has the address .*: (private|not a global unicast)/,
    );
  });

  it('checks each dial, so that DNS rebinding has no effect', async () => {
    const net = harness({ 'r.example.com.': [[PUBLIC], ['169.254.169.254']] });
    await net.connect('r.example.com');
    // Three other names, so that this one is evicted and resolved again.
    for (const name of ['a', 'b', 'c']) await net.connect(`${name}.example.com`).catch(() => undefined);
    await expect(net.connect('r.example.com')).rejects.toMatchObject({ code: 'REFUSED_BY_POLICY' });
    expect(net.dialled).toEqual([`${PUBLIC}:443`]);
  });

  it('does not loop', async () => {
    const net = harness({ 'me.example.com.': [['93.184.216.99']] }, '93.184.216.99');
    await expect(net.connect('me.example.com')).rejects.toMatchObject({ code: 'LOOP_DETECTED' });
    expect(net.dialled).toEqual([]);
  });

  it('uses the ASCII form of a name below a suffix', async () => {
    const net = harness({ 'xn--bcher-kva.example.com.': [[PUBLIC]] });
    await net.connect('xn--bcher-kva.example.com');
    expect(net.dialled).toEqual([`${PUBLIC}:443`]);
  });

  it('reports each refused address as a failed dial', async () => {
    const net = harness({ 'x.example.com.': [['169.254.169.254', 'fd00:ec2::254']] });
    await expect(net.connect('x.example.com')).rejects.toMatchObject({ code: 'REFUSED_BY_POLICY' });
    const observed = net.events.flatMap((event) => (event.type === 'dial.failed' ? [event] : []));
    const facts = observed.map(({ address, route, error }) => `${formatEndpoint(address)} ${route.name} ${error.code}`);
    expect(facts.toSorted()).toEqual([
      '169.254.169.254:443 out REFUSED_BY_POLICY',
      '[fd00:ec2::254]:443 out REFUSED_BY_POLICY',
    ]);
  });

  it('connects to a network that the route allows', async () => {
    const net = harness({ 'in.example.com.': [['10.1.2.3']] });
    await net.connect('in.example.com', { ...ROUTE, egress: { port: 8443, allowAddresses: ['10.1.0.0/16'] } });
    expect(net.dialled).toEqual(['10.1.2.3:8443']);
  });

  it('remembers a bounded number of names', async () => {
    const names = Array.from({ length: 50 }, (_, index) => `n${index}.example.com`);
    const net = harness(Object.fromEntries(names.map((name) => [`${name}.`, [[PUBLIC]]])));
    for (const name of names) await net.connect(name);
    expect(net.addresses.size).toBe(3);
  });

  it('does not affect other routes', async () => {
    const net = harness({});
    const { egress: _none, ...plain } = ROUTE;
    await expect(net.connect('www.example.com', plain)).rejects.toThrow('not egress');
  });
});

it.each([
  [{ ...ROUTE, serverNames: ['*'] }, 'serverNames'],
  [{ ...ROUTE, fallback: true }, 'serverNames'],
  [{ ...ROUTE, egress: { port: 0 } }, 'egress'],
  [{ ...ROUTE, egress: { port: 443, allowAddresses: ['10.0.0.0/40'] } }, 'egress'],
])('a snapshot with a route that would be an open proxy is refused: %#', (route, key) => {
  expect(snapshotProblems({ version: '1', routes: [route] })).toMatchObject([
    { severity: 'error', path: ['routes', 0, key] },
  ]);
});
