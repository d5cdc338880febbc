// What an operator wants, in our configuration and in HAProxy's, and the resulting outcomes for clients: the same, or
// different with a reason.
import { clientHello, inRecords, X25519, X25519_MLKEM768 } from '@meshgate/testkit';
import type { ClientHelloOptions } from '@meshgate/testkit';

/** One client: its address, what it sends, how long it stays. */
interface Client {
  readonly from?: string;
  readonly pieces: readonly Uint8Array[];
  readonly finish?: boolean;
  readonly until?: 'answer' | 'end';
  readonly hold?: boolean;
  readonly release?: boolean;
  /** How long it waits for an outcome: `open` after that. */
  readonly forMs?: number;
}

/** One row of the table. */
export interface Case {
  readonly name: string;
  /** One after the other. */
  readonly clients: readonly Client[];
  /** The outcome for each client, or what {@link judge} makes of all of them. */
  readonly expected: unknown;
  /** Where HAProxy behaves differently. */
  readonly haproxy?: Difference;
  /** The same for nginx, where the setup has it. */
  readonly nginx?: Difference;
  /** For all outcomes together. */
  readonly judge?: (outcomes: readonly string[]) => unknown;
  /** Repeated until it holds: health checks need a moment. */
  readonly eventually?: true;
  /** A backend that is started or stopped before. */
  readonly starts?: string;
  readonly stops?: string;
}

/** How a proxy behaves instead, and why that is not our fault. */
interface Difference {
  /** Absent: it varies. */
  readonly does?: unknown;
  readonly why: string;
}

/** A setup in nginx's configuration language. */
interface NginxSetup {
  /** The upstream of each server name: lines of a `map` with `hostnames`. Other names are closed. */
  readonly map: Readonly<Record<string, string>>;
  readonly upstreams: Readonly<Record<string, readonly string[]>>;
  /** More parameters of `listen`, and more of the server. */
  readonly listen?: string;
  readonly server?: readonly string[];
}

/** One listener and its routes, in all languages. */
export interface Setup {
  readonly name: string;
  /** Keys of our listener. */
  readonly listener?: Readonly<Record<string, unknown>>;
  readonly routes: readonly Readonly<Record<string, unknown>>[];
  /** Lines of a frontend; `NAME` in `use_backend NAME` is one of `pools`. */
  readonly frontend: readonly string[];
  /** Parameters after the address of `bind`. */
  readonly bind?: string;
  /** Where all of them listen; by default `127.0.0.1`. */
  readonly host?: string;
  /** Where clients connect, if that is another address. */
  readonly clientsConnectTo?: string;
  readonly pools: Readonly<Record<string, readonly string[]>>;
  /** Absent if nginx cannot do it, or only NGINX Plus can. */
  readonly nginx?: NginxSetup;
  readonly cases: readonly Case[];
}

/** Backends by name, with their ports. Nothing listens on those of `dead` and `gone`; `flap` starts and stops. */
export const PORTS = {
  b1: 9001,
  b2: 9002,
  b3: 9003,
  b4: 9004,
  lastByte: 9011,
  closer: 9012,
  resetter: 9013,
  silent: 9014,
  tls: 9015,
  hangup: 9016,
  leaver: 9017,
  leaver2: 9018,
  leaver3: 9019,
  leaver4: 9020,
  flap: 9021,
  dead: 9098,
  gone: 9099,
} as const;

type Name = keyof typeof PORTS;

const to = (name: Name, more: object = {}): object => ({ address: '127.0.0.1', port: PORTS[name], ...more });
const nginxServer = (name: Name, more = ''): string => `server 127.0.0.1:${PORTS[name]} ${more}`.trim();
/** All names lead to one upstream. */
const nginxAll = (lines: readonly string[], more: Partial<NginxSetup> = {}): NginxSetup => {
  return { map: { '~.': 'all' }, upstreams: { all: lines }, ...more };
};
const server = (name: Name, more = ''): string => `server ${name} 127.0.0.1:${PORTS[name]} ${more}`.trim();
const all = (serverName: string, backends: readonly object[], more: object = {}): Readonly<Record<string, unknown>> => {
  return { name: 'all', serverNames: [serverName], backends, ...more };
};

const hello = (serverName?: string, more: ClientHelloOptions = {}): Uint8Array => {
  return inRecords(clientHello({ ...(serverName !== undefined && { serverName }), ...more }));
};
const requests = (serverName?: string, more: Omit<Client, 'pieces'> = {}): Client => ({
  pieces: [hello(serverName)],
  ...more,
});
const message = (text: string): Client => ({ pieces: [Buffer.from(text, 'latin1')] });
const inPieces = (bytes: Uint8Array, size: number): readonly Uint8Array[] => {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  );
};
const times = <T>(count: number, make: (index: number) => T): readonly T[] =>
  Array.from({ length: count }, (_, index) => make(index));
const one = (name: string, client: Client, expected: string, haproxy?: Difference): Case => {
  return {
    name,
    clients: [client],
    expected: [expected],
    ...(haproxy !== undefined && { haproxy: 'does' in haproxy ? { ...haproxy, does: [haproxy.does] } : haproxy }),
  };
};

/** Depends on the load of the machine. */
const WANTS_ONE_READ: Difference = { why: 'it wants a PROXY header in one read, as the specification lets it' };

/** Number of clients per backend. */
const counts = (outcomes: readonly string[]): unknown => {
  const byName: Record<string, number> = {};
  for (const outcome of outcomes) byName[outcome] = (byName[outcome] ?? 0) + 1;
  return byName;
};
const kinds = (outcomes: readonly string[]): unknown => [...new Set(outcomes)].toSorted();
/**
 * For clients that connect `each` times in a row: whether every client stays with its backend, and whether more than
 * one backend is used.
 */
const sticks =
  (each: number) =>
  (outcomes: readonly string[]): unknown => {
    const groups = times(outcomes.length / each, (index) => outcomes.slice(index * each, (index + 1) * each));
    return { stays: groups.every((group) => new Set(group).size === 1), spreads: new Set(outcomes).size > 1 };
  };

/** HAProxy waits for a ClientHello as long as our gateway does, and rejects everything else. */
const HELLO_ONLY = [
  'tcp-request inspect-delay 500ms',
  'tcp-request content accept if { req.ssl_hello_type 1 }',
  'tcp-request content reject',
];
const ANY_NAME = [...HELLO_ONLY, 'use_backend all if { req.ssl_sni -m found }'];
const CHECK = 'check inter 100ms fall 1 rise 1';
const healthCheck = { interval: '100ms', timeout: '1s', fall: 1, rise: 1 };

const names: Setup = {
  name: 'names',
  routes: [
    { name: 'exact', serverNames: ['a.test'], backends: [to('b1')] },
    { name: 'suffix', serverNames: ['*.a.test'], backends: [to('b2')] },
    { name: 'deep', serverNames: ['*.deep.a.test'], backends: [to('b3')] },
    { name: 'exception', serverNames: ['x.a.test'], backends: [to('b4')] },
  ],
  frontend: [
    ...HELLO_ONLY,
    'use_backend exact if { req.ssl_sni -i a.test }',
    'use_backend exception if { req.ssl_sni -i x.a.test }',
    'use_backend deep if { req.ssl_sni -i -m end .deep.a.test }',
    'use_backend suffix if { req.ssl_sni -i -m end .a.test }',
  ],
  pools: { exact: [server('b1')], suffix: [server('b2')], deep: [server('b3')], exception: [server('b4')] },
  nginx: {
    map: { 'a.test': 'exact', 'x.a.test': 'exception', '*.deep.a.test': 'deep', '*.a.test': 'suffix' },
    upstreams: {
      exact: [nginxServer('b1')],
      suffix: [nginxServer('b2')],
      deep: [nginxServer('b3')],
      exception: [nginxServer('b4')],
    },
  },
  cases: [
    one('an exact name', requests('a.test'), 'b1'),
    one('an exact name in capitals', requests('A.TEST'), 'b1'),
    one('one label below a suffix', requests('w.a.test'), 'b2'),
    one('two labels below a suffix', requests('v.w.a.test'), 'b2'),
    one('an exact name below a suffix', requests('x.a.test'), 'b4'),
    one('a name below two suffixes', requests('y.deep.a.test'), 'b3'),
    one('the longer suffix itself', requests('deep.a.test'), 'b2'),
    one('a name with the same ending', requests('xa.test'), 'closed'),
    one('a name with the same beginning', requests('a.test.evil.test'), 'closed'),
    one('an unknown name', requests('other.test'), 'closed'),
    one('no name', requests(), 'closed'),
    one('an address in place of a name', requests('127.0.0.1'), 'closed'),
    one('HTTP', message('GET / HTTP/1.1\r\nHost: a.test\r\n\r\n'), 'closed'),
    one('SSH', message('SSH-2.0-OpenSSH_9.9\r\n'), 'closed'),
    one('noise', message('\x16\x09noise that is no TLS at all'), 'closed'),
    one('a hello in two pieces', { pieces: inPieces(hello('a.test'), 100) }, 'b1'),
    one('a hello in many pieces', { pieces: inPieces(hello('a.test'), 10) }, 'b1'),
    one(
      'a hello with a post-quantum key share',
      { pieces: [hello('a.test', { keyShares: [X25519_MLKEM768, X25519] })] },
      'b1',
    ),
    one('a hello of 12 KiB', { pieces: [hello('a.test', { padToBytes: 12_288 })] }, 'b1'),
    one('a hello in records of 50 bytes', { pieces: [inRecords(clientHello({ serverName: 'a.test' }), 50)] }, 'b1', {
      does: 'closed',
      why: 'HAProxy reads the name of a hello that is in one record only',
    }),
    one('a hello of TLS 1.2', { pieces: [hello('a.test', { versions: 'absent' })] }, 'b1'),
    one('a hello with GREASE', { pieces: [hello('a.test', { grease: true })] }, 'b1'),
    one('a hello with ALPN', { pieces: [hello('a.test', { alpn: ['h2', 'http/1.1'] })] }, 'b1'),
    one('bytes right after the hello', { pieces: [Buffer.concat([hello('a.test'), Buffer.alloc(5_000)])] }, 'b1'),
    one('a client that finishes after its hello', requests('a.test', { finish: true }), 'b1'),
  ],
};

const anyName: Setup = {
  name: 'any name',
  routes: [
    { name: 'any', serverNames: ['*'], backends: [to('b1')] },
    { name: 'exact', serverNames: ['a.test'], backends: [to('b2')] },
  ],
  frontend: [
    ...HELLO_ONLY,
    'use_backend exact if { req.ssl_sni -i a.test }',
    'use_backend any if { req.ssl_sni -m found }',
  ],
  pools: { any: [server('b1')], exact: [server('b2')] },
  nginx: {
    map: { 'a.test': 'exact', '~.': 'any' },
    upstreams: { any: [nginxServer('b1')], exact: [nginxServer('b2')] },
  },
  cases: [
    one('any name', requests('other.test'), 'b1'),
    one('a name with a route of its own', requests('a.test'), 'b2'),
    one('no name', requests(), 'closed'),
  ],
};

const fallback: Setup = {
  name: 'fallback',
  routes: [
    { name: 'rest', serverNames: [], fallback: true, backends: [to('b3')] },
    { name: 'exact', serverNames: ['a.test'], backends: [to('b1')] },
  ],
  frontend: [
    'tcp-request inspect-delay 500ms',
    'tcp-request content reject if { req.ssl_sni -m found } !{ req.ssl_sni -i a.test }',
    'tcp-request content accept if { req.len gt 0 }',
    'use_backend exact if { req.ssl_sni -i a.test }',
    'default_backend rest',
  ],
  pools: { rest: [server('b3')], exact: [server('b1')] },
  cases: [
    one('no name', requests(), 'b3'),
    one('HTTP', message('GET / HTTP/1.1\r\nHost: a.test\r\n\r\n'), 'b3'),
    one('a name with a route', requests('a.test'), 'b1'),
    one('an unknown name', requests('other.test'), 'closed'),
  ],
};

const waiting: Setup = {
  name: 'time for the hello',
  routes: [all('*', [to('b1')])],
  frontend: ANY_NAME,
  pools: { all: [server('b1')] },
  nginx: nginxAll([nginxServer('b1')]),
  cases: [
    one('a client that sends nothing', { pieces: [] }, 'closed'),
    one('a client that stops in the middle of its hello', { pieces: [hello('a.test').subarray(0, 60)] }, 'closed'),
    one(
      'a client that finishes in the middle of its hello',
      { pieces: [hello('a.test').subarray(0, 60)], finish: true },
      'closed',
    ),
    one('a client that finishes at once', { pieces: [], finish: true }, 'closed'),
  ],
};

const THREE = ['b1', 'b2', 'b3'] as const;
const balance = (
  name: string,
  key: object,
  lines: { readonly haproxy: readonly string[]; readonly nginx: readonly string[] },
  cases: readonly Case[],
): Setup => ({
  name,
  routes: [all('*', [to('b1'), to('b2'), to('b3')], key)],
  frontend: ANY_NAME,
  pools: { all: [...lines.haproxy, ...THREE.map((backend) => server(backend))] },
  nginx: nginxAll([...lines.nginx, ...THREE.map((backend) => nginxServer(backend))]),
  cases,
});

const fromAddresses = times(20, (index) => `127.7.${index}.${index + 1}`);

const balancing: readonly Setup[] = [
  balance('round robin', { balance: 'round_robin' }, { haproxy: ['balance roundrobin'], nginx: [] }, [
    {
      name: 'takes turns',
      clients: times(12, () => requests('a.test')),
      judge: counts,
      expected: { b1: 4, b2: 4, b3: 4 },
    },
    {
      name: 'takes turns over clients and names',
      clients: times(12, (index) => requests(`n${index}.test`, { from: `127.8.0.${index + 1}` })),
      judge: counts,
      expected: { b1: 4, b2: 4, b3: 4 },
    },
  ]),
  {
    name: 'weights',
    routes: [all('*', [to('b1', { weight: 3 }), to('b2')])],
    frontend: ANY_NAME,
    pools: { all: ['balance roundrobin', server('b1', 'weight 3'), server('b2', 'weight 1')] },
    nginx: nginxAll([nginxServer('b1', 'weight=3'), nginxServer('b2')]),
    cases: [
      { name: 'give shares', clients: times(16, () => requests('a.test')), judge: counts, expected: { b1: 12, b2: 4 } },
    ],
  },
  balance('random', { balance: 'random' }, { haproxy: ['balance random(1)'], nginx: ['random'] }, [
    { name: 'uses all', clients: times(40, () => requests('a.test')), judge: kinds, expected: ['b1', 'b2', 'b3'] },
  ]),
  balance(
    'by client',
    { balance: 'client_hash' },
    { haproxy: ['balance source', 'hash-type consistent'], nginx: ['hash $remote_addr consistent'] },
    [
      {
        name: 'keeps each client with its backend',
        clients: fromAddresses.flatMap((from) => times(3, (index) => requests(`n${index}.test`, { from }))),
        judge: sticks(3),
        expected: { stays: true, spreads: true },
      },
    ],
  ),
  balance(
    'by name',
    { balance: 'name_hash' },
    {
      haproxy: ['stick-table type string len 64 size 1k', 'stick on req.ssl_sni'],
      nginx: ['hash $ssl_preread_server_name consistent'],
    },
    [
      {
        name: 'keeps each name with its backend, whoever asks',
        clients: times(20, (index) => index).flatMap((index) =>
          times(3, (turn) => requests(`tenant-${index}.test`, { from: `127.9.${turn}.${index + 1}` })),
        ),
        judge: sticks(3),
        expected: { stays: true, spreads: true },
      },
    ],
  ),
];

const turns = (count: number): readonly Client[] => times(count, () => requests('a.test'));

const dialling: readonly Setup[] = [
  {
    name: 'a backend that refuses',
    routes: [all('*', [to('dead'), to('b1')])],
    frontend: ANY_NAME,
    pools: { all: [server('dead'), server('b1')] },
    nginx: nginxAll([nginxServer('dead'), nginxServer('b1')]),
    cases: [{ name: 'is passed over', clients: turns(6), judge: kinds, expected: ['b1'] }],
  },
  {
    name: 'backends that all refuse',
    routes: [all('*', [to('dead'), to('gone')])],
    frontend: ANY_NAME,
    pools: { all: [server('dead'), server('gone')] },
    nginx: nginxAll([nginxServer('dead'), nginxServer('gone')]),
    cases: [{ name: 'close the client', clients: turns(2), judge: kinds, expected: ['closed'] }],
  },
  {
    name: 'no backend',
    routes: [all('*', [])],
    frontend: ANY_NAME,
    pools: { all: [] },
    cases: [{ name: 'closes the client', clients: turns(2), judge: kinds, expected: ['closed'] }],
  },
];

const backups: readonly Setup[] = [
  {
    name: 'a backup',
    routes: [all('*', [to('b1'), to('b2', { priority: 1 })], { healthCheck })],
    frontend: ANY_NAME,
    pools: { all: [server('b1', CHECK), server('b2', `${CHECK} backup`)] },
    nginx: nginxAll([nginxServer('b1'), nginxServer('b2', 'backup')]),
    cases: [{ name: 'is not used while the primary is well', clients: turns(4), judge: kinds, expected: ['b1'] }],
  },
  {
    name: 'a backup of a dead primary',
    routes: [all('*', [to('dead'), to('b2', { priority: 1 })], { healthCheck })],
    frontend: ANY_NAME,
    pools: { all: [server('dead', CHECK), server('b2', `${CHECK} backup`)] },
    nginx: nginxAll([nginxServer('dead'), nginxServer('b2', 'backup')]),
    cases: [{ name: 'is used', clients: turns(4), judge: kinds, expected: ['b2'], eventually: true }],
  },
  {
    name: 'the backup of a backup',
    routes: [all('*', [to('dead'), to('gone', { priority: 1 }), to('b3', { priority: 2 })], { healthCheck })],
    frontend: ANY_NAME,
    pools: { all: [server('dead', CHECK), server('gone', `${CHECK} backup`), server('b3', `${CHECK} backup`)] },
    cases: [
      {
        name: 'is used when both before it are dead',
        clients: turns(4),
        judge: kinds,
        expected: ['b3'],
        eventually: true,
      },
    ],
  },
  {
    name: 'a minimum of healthy backends',
    routes: [
      all('*', [to('b1'), to('dead'), to('gone'), to('b4', { priority: 1 })], {
        healthCheck,
        failover: { minHealthy: 2 },
      }),
    ],
    frontend: [
      ...HELLO_ONLY,
      'use_backend second if { nbsrv(POOL_all) lt 2 }',
      'use_backend all if { req.ssl_sni -m found }',
    ],
    pools: { all: [server('b1', CHECK), server('dead', CHECK), server('gone', CHECK)], second: [server('b4')] },
    cases: [
      {
        name: 'sends clients to the backup below it',
        clients: turns(4),
        judge: kinds,
        expected: ['b4'],
        eventually: true,
      },
    ],
  },
  {
    name: 'a preferred zone',
    routes: [all('*', [to('b1', { labels: { zone: 'a' } }), to('b2', { labels: { zone: 'b' } })], { healthCheck })],
    frontend: ANY_NAME,
    pools: { all: [server('b1', CHECK), server('b2', `${CHECK} backup`)] },
    cases: [{ name: 'has all clients while it is well', clients: turns(4), judge: kinds, expected: ['b1'] }],
  },
  {
    name: 'a preferred zone that is dead',
    routes: [all('*', [to('dead', { labels: { zone: 'a' } }), to('b2', { labels: { zone: 'b' } })], { healthCheck })],
    frontend: ANY_NAME,
    pools: { all: [server('dead', CHECK), server('b2', `${CHECK} backup`)] },
    cases: [{ name: 'leaves them to the other', clients: turns(4), judge: kinds, expected: ['b2'], eventually: true }],
  },
];

const health: readonly Setup[] = [
  {
    name: 'checks by TCP',
    routes: [all('*', [to('b1'), to('flap')], { healthCheck })],
    frontend: ANY_NAME,
    pools: { all: ['balance roundrobin', server('b1', CHECK), server('flap', CHECK)] },
    cases: [
      { name: 'keep clients from what is down', clients: turns(4), judge: kinds, expected: ['b1'], eventually: true },
      {
        name: 'bring back what is up',
        starts: 'flap',
        clients: turns(4),
        judge: kinds,
        expected: ['b1', 'flap'],
        eventually: true,
      },
      {
        name: 'take away what goes down again',
        stops: 'flap',
        clients: turns(4),
        judge: kinds,
        expected: ['b1'],
        eventually: true,
      },
    ],
  },
  {
    name: 'checks by TLS',
    routes: [all('*', [to('b1'), to('tls')], { healthCheck: { ...healthCheck, kind: 'tls' } })],
    frontend: ANY_NAME,
    pools: { all: ['balance roundrobin', 'option ssl-hello-chk', server('b1', CHECK), server('tls', CHECK)] },
    cases: [
      {
        name: 'keep clients from what speaks no TLS',
        clients: turns(4),
        judge: kinds,
        expected: ['tls'],
        eventually: true,
      },
    ],
  },
  {
    name: 'checks by TCP of what speaks no TLS',
    routes: [all('*', [to('b1'), to('tls')], { healthCheck })],
    frontend: ANY_NAME,
    pools: { all: ['balance roundrobin', server('b1', CHECK), server('tls', CHECK)] },
    cases: [{ name: 'are content', clients: turns(8), judge: counts, expected: { b1: 4, tls: 4 } }],
  },
  {
    name: 'checks that refuse',
    routes: [all('*', [to('dead'), to('gone')], { healthCheck: { ...healthCheck, whenAllDown: 'refuse' } })],
    frontend: ANY_NAME,
    pools: { all: [server('dead', CHECK), server('gone', CHECK)] },
    cases: [{ name: 'close clients when all is down', clients: turns(2), judge: kinds, expected: ['closed'] }],
  },
  {
    name: 'checks that are wrong',
    // The TLS check fails at a backend that serves clients nevertheless.
    routes: [all('*', [to('b1')], { healthCheck: { ...healthCheck, kind: 'tls' } })],
    frontend: ANY_NAME,
    pools: { all: ['option ssl-hello-chk', server('b1', CHECK)] },
    cases: [
      {
        name: 'take no backend away when it is the last',
        clients: turns(4),
        judge: kinds,
        expected: ['b1'],
        haproxy: { does: ['closed'], why: 'HAProxy refuses when all is down; whenAllDown: refuse does the same' },
        eventually: true,
      },
    ],
  },
];

const v1 = (source: string): Uint8Array => Buffer.from(`PROXY TCP4 ${source} 192.0.2.1 4711 443\r\n`);
const v2 = (command: number, source = '192.0.2.7'): Uint8Array => {
  const address = [...source.split('.').map(Number), 192, 0, 2, 1, 0x12, 0x67, 0x01, 0xbb];
  const body = command === 0 ? [] : address;
  return Buffer.concat([
    Buffer.from('0d0a0d0a000d0a515549540a', 'hex'),
    Buffer.from([0x20 | command, command === 0 ? 0 : 0x11, 0, body.length, ...body]),
  ]);
};
const behind = (header: Uint8Array, more: Omit<Client, 'pieces'> = {}): Client => {
  return { pieces: [Buffer.concat([header, hello('a.test')])], ...more };
};

const proxied: readonly Setup[] = [
  {
    name: 'the PROXY protocol before the hello',
    listener: { proxyProtocol: { from: ['127.0.0.0/8'] } },
    routes: [all('*', [to('b1')])],
    bind: 'accept-proxy',
    frontend: ANY_NAME,
    pools: { all: [server('b1')] },
    nginx: nginxAll([nginxServer('b1')], { listen: 'proxy_protocol' }),
    cases: [
      one('version 1', behind(v1('192.0.2.7')), 'b1'),
      one('version 2', behind(v2(1)), 'b1'),
      one('version 2, of the balancer itself', behind(v2(0)), 'b1'),
      one('version 1, unknown', behind(Buffer.from('PROXY UNKNOWN\r\n')), 'b1'),
      {
        ...one(
          'a header in pieces',
          { pieces: [v1('192.0.2.7').subarray(0, 9), v1('192.0.2.7').subarray(9), hello('a.test')] },
          'b1',
          WANTS_ONE_READ,
        ),
        nginx: WANTS_ONE_READ,
      },
      one('no header', requests('a.test'), 'closed'),
      one('a malformed header', behind(Buffer.from('PROXY TCP4 nowhere 192.0.2.1 4711 443\r\n')), 'closed'),
      one('a header without a hello', { pieces: [v1('192.0.2.7')] }, 'closed'),
    ],
  },
  {
    name: 'the client that a PROXY header names',
    listener: { proxyProtocol: { from: ['127.0.0.0/8'] } },
    routes: [all('*', [to('b1'), to('b2'), to('b3')], { balance: 'client_hash' })],
    bind: 'accept-proxy',
    frontend: ANY_NAME,
    pools: { all: ['balance source', 'hash-type consistent', server('b1'), server('b2'), server('b3')] },
    nginx: nginxAll(['hash $proxy_protocol_addr consistent', nginxServer('b1'), nginxServer('b2'), nginxServer('b3')], {
      listen: 'proxy_protocol',
    }),
    cases: [
      {
        name: 'decides on its backend, not the balancer',
        clients: times(20, (index) => index).flatMap((index) =>
          times(3, (turn) => behind(v1(`198.51.100.${index + 1}`), { from: `127.5.0.${turn + 1}` })),
        ),
        judge: sticks(3),
        expected: { stays: true, spreads: true },
      },
    ],
  },
];

const from = (address: string, serverName = 'a.test'): Client => requests(serverName, { from: address });

const access: readonly Setup[] = [
  {
    name: 'an access list of a listener',
    listener: { access: { allow: ['127.0.10.0/24', '127.0.11.5'], deny: ['127.0.10.66'] } },
    routes: [all('*', [to('b1')])],
    frontend: [
      'tcp-request connection reject if { src 127.0.10.66 }',
      'tcp-request connection reject if !{ src 127.0.10.0/24 127.0.11.5 }',
      ...ANY_NAME,
    ],
    pools: { all: [server('b1')] },
    nginx: nginxAll([nginxServer('b1')], {
      server: ['deny 127.0.10.66', 'allow 127.0.10.0/24', 'allow 127.0.11.5', 'deny all'],
    }),
    cases: [
      one('a client in an allowed block', from('127.0.10.1'), 'b1'),
      one('the last address of the block', from('127.0.10.255'), 'b1'),
      one('an allowed address', from('127.0.11.5'), 'b1'),
      one('the address next to it', from('127.0.11.6'), 'closed'),
      one('a denied address in an allowed block', from('127.0.10.66'), 'closed'),
      one('a client outside the block', from('127.0.12.1'), 'closed'),
    ],
  },
  {
    name: 'an access list of a route',
    routes: [
      { name: 'admin', serverNames: ['admin.test'], access: { allow: ['127.0.10.0/24'] }, backends: [to('b1')] },
      { name: 'open', serverNames: ['a.test'], backends: [to('b2')] },
    ],
    frontend: [
      'tcp-request inspect-delay 500ms',
      'tcp-request content reject if { req.ssl_sni -i admin.test } !{ src 127.0.10.0/24 }',
      ...HELLO_ONLY.slice(1),
      'use_backend admin if { req.ssl_sni -i admin.test }',
      'use_backend open if { req.ssl_sni -i a.test }',
    ],
    pools: { admin: [server('b1')], open: [server('b2')] },
    cases: [
      one('allows a client that it lists', from('127.0.10.7', 'admin.test'), 'b1'),
      one('denies another client', from('127.0.20.7', 'admin.test'), 'closed'),
      one('does not affect other routes', from('127.0.20.7'), 'b2'),
    ],
  },
  {
    name: 'an access list behind the PROXY protocol',
    listener: { proxyProtocol: { from: ['127.0.0.0/8'] }, access: { allow: ['192.0.2.0/24'] } },
    routes: [all('*', [to('b1')])],
    bind: 'accept-proxy',
    frontend: ['tcp-request session reject if !{ src 192.0.2.0/24 }', ...ANY_NAME],
    pools: { all: [server('b1')] },
    cases: [
      one('allows the client in the header', behind(v1('192.0.2.9')), 'b1'),
      one('denies a client in the header', behind(v1('198.51.100.9')), 'closed'),
      one('applies to version 2 as well', behind(v2(1, '198.51.100.9')), 'closed'),
    ],
  },
];

const limits: readonly Setup[] = [
  {
    name: 'connections of a route',
    routes: [all('*', [to('b1')], { limits: { connections: 2 } })],
    frontend: [
      'tcp-request inspect-delay 500ms',
      'tcp-request content reject if { be_conn(POOL_all) ge 2 }',
      ...HELLO_ONLY.slice(1),
      'use_backend all if { req.ssl_sni -m found }',
    ],
    pools: { all: [server('b1')] },
    cases: [
      {
        name: 'are as many as its limit',
        clients: [...times(3, () => requests('a.test', { hold: true })), requests('a.test')],
        expected: ['b1', 'b1', 'closed', 'closed'],
      },
      {
        name: 'may come again when others have gone',
        clients: [requests('a.test', { release: true })],
        expected: ['b1'],
        eventually: true,
      },
    ],
  },
  {
    name: 'connections of a backend',
    routes: [all('*', [to('b1'), to('b2', { priority: 1 })], { limits: { perBackend: 1 } })],
    frontend: [
      'tcp-request inspect-delay 500ms',
      'tcp-request content reject if { srv_conn(POOL_all/b1) ge 1 } { srv_conn(POOL_second/b2) ge 1 }',
      ...HELLO_ONLY.slice(1),
      'use_backend second if { srv_conn(POOL_all/b1) ge 1 }',
      'use_backend all if { req.ssl_sni -m found }',
    ],
    pools: { all: [server('b1')], second: [server('b2')] },
    cases: [
      {
        name: 'spill over to the backup, and then end',
        clients: times(3, () => requests('a.test', { hold: true })),
        expected: ['b1', 'b2', 'closed'],
      },
    ],
  },
  {
    name: 'new connections of a route',
    routes: [all('*', [to('b1')], { limits: { rate: '3/h' } })],
    frontend: [
      'stick-table type integer size 10 expire 1h store conn_rate(1h)',
      'tcp-request connection track-sc0 dst_port',
      'tcp-request connection reject if { sc0_conn_rate gt 3 }',
      ...ANY_NAME,
    ],
    pools: { all: [server('b1')] },
    cases: [
      {
        name: 'are as many as its rate',
        clients: turns(6),
        expected: ['b1', 'b1', 'b1', 'closed', 'closed', 'closed'],
      },
    ],
  },
];

const endings: readonly Setup[] = [
  {
    name: 'a backend that answers at the end',
    routes: [all('*', [to('lastByte')])],
    frontend: ANY_NAME,
    pools: { all: [server('lastByte')] },
    nginx: nginxAll([nginxServer('lastByte')]),
    cases: [
      one(
        'receives every byte, and its response arrives after the client has finished',
        { pieces: [hello('a.test'), Buffer.alloc(100_000)], finish: true, until: 'end' },
        `lastByte ${hello('a.test').length + 100_000}, end`,
      ),
    ],
  },
  {
    name: 'a backend that finishes first',
    routes: [all('*', [to('closer')])],
    frontend: ANY_NAME,
    pools: { all: [server('closer')] },
    nginx: nginxAll([nginxServer('closer')]),
    cases: [one('ends the client after its response', requests('a.test', { until: 'end' }), 'closer, end')],
  },
  {
    name: 'a backend that resets',
    routes: [all('*', [to('resetter')])],
    frontend: ANY_NAME,
    pools: { all: [server('resetter')] },
    nginx: nginxAll([nginxServer('resetter')]),
    cases: [one('closes the client', requests('a.test', { until: 'end' }), 'closed')],
  },
  {
    name: 'silence',
    routes: [all('silent.test', [to('silent')]), { name: 'b1', serverNames: ['a.test'], backends: [to('b1')] }],
    frontend: [
      ...HELLO_ONLY,
      'use_backend silent if { req.ssl_sni -i silent.test }',
      'use_backend all if { req.ssl_sni -i a.test }',
    ],
    pools: { all: [server('b1')], silent: [server('silent')] },
    nginx: {
      map: { 'silent.test': 'silent', 'a.test': 'all' },
      upstreams: { all: [nginxServer('b1')], silent: [nginxServer('silent')] },
    },
    cases: [
      one('of both sides ends a connection after the idle timeout', requests('a.test', { until: 'end' }), 'b1, end'),
      one('of a backend does so, too', requests('silent.test', { until: 'end' }), 'closed'),
    ],
  },
];

const observed: readonly Setup[] = [
  {
    name: 'the PROXY protocol towards a backend',
    routes: [all('*', [to('b1')], { proxyProtocol: 'v1' })],
    frontend: ANY_NAME,
    pools: { all: [server('b1', 'send-proxy')] },
    nginx: nginxAll([nginxServer('b1')], { server: ['proxy_protocol on'] }),
    cases: [
      one('gets the client address in version 1', from('127.0.30.7'), 'b1 v1 TCP4 127.0.30.7'),
      one(
        'gets the header before every byte of the client',
        { pieces: [hello('a.test'), Buffer.alloc(9_000)], from: '127.0.30.8' },
        'b1 v1 TCP4 127.0.30.8',
      ),
    ],
  },
  {
    name: 'version 2 of the PROXY protocol towards a backend',
    routes: [all('*', [to('b1')], { proxyProtocol: 'v2' })],
    frontend: ANY_NAME,
    pools: { all: [server('b1', 'send-proxy-v2')] },
    cases: [one('gets the client address', from('127.0.31.7'), 'b1 v2 TCP4 127.0.31.7')],
  },
  {
    name: 'the PROXY protocol towards some backends',
    routes: [all('*', [to('b1', { proxyProtocol: 'v2' }), to('b2', { proxyProtocol: 'v1' }), to('b3')])],
    frontend: ANY_NAME,
    pools: { all: ['balance roundrobin', server('b1', 'send-proxy-v2'), server('b2', 'send-proxy'), server('b3')] },
    cases: [
      {
        name: 'tells each in its own way',
        clients: times(6, () => from('127.0.32.7')),
        judge: counts,
        expected: { 'b1 v2 TCP4 127.0.32.7': 2, 'b2 v1 TCP4 127.0.32.7': 2, b3: 2 },
      },
    ],
  },
  {
    name: 'the PROXY protocol on both sides',
    listener: { proxyProtocol: { from: ['127.0.0.0/8'] } },
    routes: [all('*', [to('b1')], { proxyProtocol: 'v2' })],
    bind: 'accept-proxy',
    frontend: ANY_NAME,
    pools: { all: [server('b1', 'send-proxy-v2')] },
    cases: [
      one('forwards the client of the first header', behind(v1('192.0.2.77')), 'b1 v2 TCP4 192.0.2.77'),
      one('accepts version 2 for it, too', behind(v2(1, '192.0.2.78')), 'b1 v2 TCP4 192.0.2.78'),
    ],
  },
];

const ipv6: readonly Setup[] = [
  {
    name: 'IPv6',
    host: '::1',
    routes: [all('*', [to('b1')], { proxyProtocol: 'v1' })],
    frontend: ANY_NAME,
    pools: { all: [server('b1', 'send-proxy')] },
    nginx: nginxAll([nginxServer('b1')], { server: ['proxy_protocol on'] }),
    cases: [
      one('is where clients come in', from('::1'), 'b1 v1 TCP6 ::1'),
      one('has more than one address', from('2001:db8::7'), 'b1 v1 TCP6 2001:db8::7'),
    ],
  },
  {
    name: 'an access list of IPv6',
    host: '::1',
    listener: { access: { allow: ['2001:db8::/64', '::1'], deny: ['2001:db8::66'] } },
    routes: [all('*', [to('b1')])],
    frontend: [
      'tcp-request connection reject if { src 2001:db8::66 }',
      'tcp-request connection reject if !{ src 2001:db8::/64 ::1 }',
      ...ANY_NAME,
    ],
    pools: { all: [server('b1')] },
    nginx: nginxAll([nginxServer('b1')], {
      server: ['deny 2001:db8::66', 'allow 2001:db8::/64', 'allow ::1', 'deny all'],
    }),
    cases: [
      one('allows a client of a block', from('2001:db8::7'), 'b1'),
      one('denies a single client of it', from('2001:db8::66'), 'closed'),
      one('denies clients of other blocks', from('2001:db8:1::7'), 'closed'),
    ],
  },
];

const NO_RETRY: Difference = { does: ['closed'], why: 'another server is tried only while a connection is made' };
const NO_MAX_AGE: Difference = { does: ['open'], why: 'there is no maximum age' };

const leaving: readonly Setup[] = [
  {
    name: 'a backend that ends without a byte',
    routes: [all('*', [to('hangup'), to('b1', { priority: 1 })], { retryBeforeFirstByte: true })],
    frontend: ANY_NAME,
    pools: { all: [server('hangup'), server('b1', 'backup')] },
    nginx: nginxAll([nginxServer('hangup'), nginxServer('b1', 'backup')]),
    cases: [
      {
        ...one('is followed by another attempt', requests('a.test'), 'b1', { ...NO_RETRY, does: 'closed' }),
        nginx: NO_RETRY,
      },
    ],
  },
  {
    name: 'a backend that resets without a byte',
    routes: [all('*', [to('resetter'), to('b1', { priority: 1 })], { retryBeforeFirstByte: true })],
    frontend: ANY_NAME,
    pools: { all: [server('resetter'), server('b1', 'backup')] },
    cases: [
      one('is followed by another attempt, too', requests('a.test'), 'b1', {
        why: 'by its account it may still be connecting',
      }),
    ],
  },
  {
    name: 'a backend that goes down',
    routes: [all('*', [to('leaver')], { healthCheck, onBackendDown: { grace: '0s', spread: '0s' } })],
    frontend: ANY_NAME,
    pools: { all: [server('leaver2', `${CHECK} on-marked-down shutdown-sessions`)] },
    cases: [
      {
        ...one('closes its connections', requests('a.test', { until: 'end' }), 'leaver, end', {
          does: 'leaver2, end',
          why: 'each has its own backend, which stops listening once it is connected',
        }),
        // It keeps sending until then.
        judge: (outcomes) => outcomes.map((outcome) => outcome.replaceAll('.', '')),
      },
    ],
  },
  {
    name: 'a maximum age',
    routes: [all('*', [to('b1')], { limits: { maxAge: '200ms', idleTimeout: '1m' } })],
    frontend: ANY_NAME,
    pools: { all: ['timeout server 1m', server('b1')] },
    nginx: nginxAll([nginxServer('b1')], { server: ['proxy_timeout 1m'] }),
    cases: [
      {
        ...one('ends a connection', requests('a.test', { until: 'end', forMs: 900 }), 'b1, end', {
          why: 'it has none, only times of silence',
        }),
        nginx: NO_MAX_AGE,
      },
    ],
  },
  {
    name: 'connections of several backends',
    routes: [all('*', [to('b1'), to('b2'), to('b3', { priority: 1 })], { limits: { perBackend: 1 } })],
    frontend: [
      'tcp-request inspect-delay 500ms',
      'acl full1 srv_conn(POOL_all/b1) ge 1',
      'acl full2 srv_conn(POOL_all/b2) ge 1',
      'acl full3 srv_conn(POOL_second/b3) ge 1',
      'tcp-request content reject if full1 full2 full3',
      ...HELLO_ONLY.slice(1),
      'use_backend second if full1 full2',
      'use_backend all if { req.ssl_sni -m found }',
    ],
    pools: { all: ['balance leastconn', server('b1'), server('b2')], second: [server('b3')] },
    cases: [
      {
        name: 'spill over to the next, then to the next priority, and then end',
        clients: times(4, () => requests('a.test', { hold: true })),
        judge: counts,
        expected: { b1: 1, b2: 1, b3: 1, closed: 1 },
      },
    ],
  },
];

/** IPv4-mapped IPv6, as the kernel shows it. */
const AS_MAPPED: Difference = {
  does: ['b1 v1 TCP6 ::ffff:127.0.40.7'],
  why: 'it passes the address on as it is written',
};

/** The cases of later rounds. */
const further: readonly Setup[] = [
  {
    name: 'a listener on all addresses of both families',
    host: '::',
    clientsConnectTo: '127.0.0.1',
    listener: { access: { allow: ['127.0.40.0/24', '::/0'], deny: ['127.0.40.66'] } },
    routes: [all('*', [to('b1')], { proxyProtocol: 'v1' })],
    bind: 'v4v6',
    frontend: [
      'tcp-request connection reject if { src 127.0.40.66 }',
      'tcp-request connection reject if !{ src 127.0.40.0/24 }',
      ...ANY_NAME,
    ],
    pools: { all: [server('b1', 'send-proxy')] },
    nginx: nginxAll([nginxServer('b1')], {
      listen: 'ipv6only=off',
      server: ['proxy_protocol on', 'deny 127.0.40.66', 'allow 127.0.40.0/24', 'deny all'],
    }),
    cases: [
      {
        name: 'takes a client of IPv4 for what it is, and says so to the backend',
        clients: [from('127.0.40.7')],
        expected: ['b1 v1 TCP4 127.0.40.7'],
        haproxy: AS_MAPPED,
        nginx: AS_MAPPED,
      },
      one('denies an IPv4 address', from('127.0.40.66'), 'closed'),
      one('does not treat all of IPv6 as all of IPv4', from('127.0.41.7'), 'closed'),
    ],
  },
  {
    name: 'an access list in a file',
    listener: { access: { denyFile: 'denied.txt' } },
    routes: [all('*', [to('b1')])],
    frontend: ['tcp-request connection reject if { src -f FOLDER/denied.txt }', ...ANY_NAME],
    pools: { all: [server('b1')] },
    cases: [
      one('denies an address that it lists', from('127.0.42.1'), 'closed'),
      one('denies a block that it lists', from('127.0.42.77'), 'closed'),
      one('allows others', from('127.0.42.128'), 'b1'),
    ],
  },
  {
    name: 'silence after one side has finished',
    routes: [all('*', [to('silent')], { limits: { halfCloseTimeout: '200ms', idleTimeout: '1m' } })],
    frontend: ['timeout client-fin 200ms', ...ANY_NAME],
    pools: { all: ['timeout server 1m', 'timeout server-fin 200ms', server('silent')] },
    cases: [one('has its own time', requests('a.test', { finish: true, until: 'end', forMs: 900 }), 'closed')],
  },
  {
    name: 'bytes right before the end of a backend',
    routes: [all('*', [to('closer'), to('b1', { priority: 1 })], { retryBeforeFirstByte: true })],
    frontend: ANY_NAME,
    pools: { all: [server('closer'), server('b1', 'backup')] },
    nginx: nginxAll([nginxServer('closer'), nginxServer('b1', 'backup')]),
    cases: [one('are final: no other backend is tried', requests('a.test', { until: 'end' }), 'closer, end')],
  },
  {
    name: 'a backend that ends without a byte by default',
    routes: [all('*', [to('hangup'), to('b1', { priority: 1 })])],
    frontend: ANY_NAME,
    pools: { all: [server('hangup'), server('b1', 'backup')] },
    nginx: nginxAll([nginxServer('hangup'), nginxServer('b1', 'backup')]),
    cases: [one('ends its client', requests('a.test', { until: 'end' }), 'closed')],
  },
  {
    name: 'a backend that goes down by default',
    routes: [all('*', [to('leaver3')], { healthCheck })],
    frontend: ANY_NAME,
    pools: { all: [server('leaver4', CHECK)] },
    cases: [one('keeps its connections', requests('a.test', { until: 'end', forMs: 900 }), 'open')],
  },
  {
    name: 'checks by TLS of backends that end, reset, refuse or say nothing',
    routes: [
      all('*', [to('hangup'), to('resetter'), to('silent'), to('dead'), to('tls')], {
        healthCheck: { ...healthCheck, kind: 'tls' },
      }),
    ],
    frontend: ANY_NAME,
    pools: {
      all: [
        'balance roundrobin',
        'option ssl-hello-chk',
        ...(['hangup', 'resetter', 'silent', 'dead', 'tls'] as const).map((name) => server(name, CHECK)),
      ],
    },
    cases: [
      { name: 'leave the one that answers', clients: turns(10), judge: kinds, expected: ['tls'], eventually: true },
    ],
  },
  {
    name: 'by client, with a backend that is dead',
    routes: [all('*', [to('b1'), to('dead'), to('b2'), to('b3')], { balance: 'client_hash', healthCheck })],
    frontend: ANY_NAME,
    pools: {
      all: [
        'balance source',
        'hash-type consistent',
        ...(['b1', 'dead', 'b2', 'b3'] as const).map((name) => server(name, CHECK)),
      ],
    },
    nginx: nginxAll([
      'hash $remote_addr consistent',
      ...(['b1', 'dead', 'b2', 'b3'] as const).map((name) => nginxServer(name)),
    ]),
    cases: [
      {
        name: 'keeps each client with one that is alive',
        clients: fromAddresses.flatMap((address) => times(3, (index) => requests(`n${index}.test`, { from: address }))),
        judge: (outcomes) => ({ ...(sticks(3)(outcomes) as object), uses: kinds(outcomes) }),
        expected: { stays: true, spreads: true, uses: ['b1', 'b2', 'b3'] },
        eventually: true,
      },
    ],
  },
  {
    name: 'by client, with weights',
    routes: [all('*', [to('b1', { weight: 9 }), to('b2')], { balance: 'client_hash' })],
    frontend: ANY_NAME,
    pools: { all: ['balance source', 'hash-type consistent', server('b1', 'weight 90'), server('b2', 'weight 10')] },
    cases: [
      {
        name: 'gives the heavier backend most of the clients, and the other one some',
        clients: times(120, (index) => requests('a.test', { from: `127.44.${index}.${(index * 7) % 250}` })),
        judge: (outcomes) => {
          const light = outcomes.filter((outcome) => outcome === 'b2').length;
          return light > 0 && light < 45;
        },
        expected: true,
      },
    ],
  },
  {
    name: 'weights in two priorities',
    routes: [
      all('*', [to('b1', { weight: 3 }), to('b2'), to('b3', { priority: 1, weight: 100 }), to('dead', { weight: 4 })], {
        healthCheck,
      }),
    ],
    frontend: ANY_NAME,
    pools: {
      all: [
        'balance roundrobin',
        server('b1', `${CHECK} weight 3`),
        server('b2', `${CHECK} weight 1`),
        server('b3', `${CHECK} weight 100 backup`),
        server('dead', `${CHECK} weight 4`),
      ],
    },
    cases: [
      {
        name: 'share among those that are alive of the first',
        clients: turns(16),
        judge: counts,
        expected: { b1: 12, b2: 4 },
        eventually: true,
      },
    ],
  },
];

/** All setups, each with a listener. */
export const SETUPS: readonly Setup[] = [
  names,
  anyName,
  fallback,
  waiting,
  ...balancing,
  ...dialling,
  ...backups,
  ...health,
  ...proxied,
  ...access,
  ...limits,
  ...endings,
  ...observed,
  ...ipv6,
  ...leaving,
  ...further,
];
