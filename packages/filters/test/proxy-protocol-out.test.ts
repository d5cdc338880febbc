import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createProxy, nodeTransport } from '@meshgate/core';
import type { Endpoint, Layer, Connector, Route, ProxyProtocolVersion, Transport } from '@meshgate/core';
import { epollTransport } from '@meshgate/epoll-transport';
import { sniSniffer } from '@meshgate/sni';
import { clientHello, inRecords, needs, peerListener, rawClient, tlsBackend, tlsClient } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import {
  formatProxyHeader,
  parseProxyHeader,
  postgres,
  postgresBackends,
  proxyProtocolBackends,
} from '../src/index.ts';

const HELLO = inRecords(clientHello({ serverName: 'api.example.com', alpn: ['h2', 'http/1.1'] }));
const CLIENT = { host: '192.0.2.1', port: 4711 };
const SERVER = { host: '198.51.100.1', port: 443 };

function routeTo(address: Endpoint, proxyProtocol: ProxyProtocolVersion): Route {
  return {
    name: 'api',
    serverNames: ['api.example.com'],
    backends: [{ address, weight: 1, healthy: true }],
    proxyProtocol,
  };
}

async function proxyTo(route: Route, layers: readonly Layer<Connector>[] = [], transport?: Transport) {
  const proxy = createProxy({
    listen: { host: '127.0.0.1', port: 0 },
    routes: [route],
    sniffers: [sniSniffer()],
    filters: layers.length > 0 ? [postgres()] : [],
    layers: [proxyProtocolBackends(), ...layers],
    drain: { graceMs: 0, spreadMs: 0 },
    ...(transport !== undefined && { transport }),
  });
  await proxy.start();
  return { address: proxy.address, [Symbol.asyncDispose]: () => proxy.stop() };
}

describe('a written header', () => {
  it.each([
    ['v1', CLIENT, SERVER, CLIENT, SERVER],
    ['v2', CLIENT, SERVER, CLIENT, SERVER],
    [
      'v2',
      { host: '2001:db8::1', port: 1 },
      { host: '2001:db8::2', port: 2 },
      { host: '2001:db8::1', port: 1 },
      { host: '2001:db8::2', port: 2 },
    ],
    ['v1', { host: '2001:db8::1', port: 1 }, SERVER, { host: '2001:db8::1', port: 1 }, SERVER],
    [
      'v2',
      { host: 'fe80::1%eth0', port: 1 },
      { host: 'fe80::2', port: 2 },
      { host: 'fe80::1', port: 1 },
      { host: 'fe80::2', port: 2 },
    ],
    ['v1', { host: 'unix:/run/app.sock', port: 0 }, SERVER, undefined, undefined],
    ['v2', { host: 'unix:/run/app.sock', port: 0 }, SERVER, undefined, undefined],
  ] as const)('as %s from %o to %o is parsed to the same values', (version, source, destination, from, to) => {
    const bytes = formatProxyHeader(version, { source, destination });
    const result = parseProxyHeader(bytes);
    expect(result).toMatchObject({ kind: 'header', length: bytes.length });
    const header = result.kind === 'header' ? result.header : undefined;
    expect([header?.source, header?.destination]).toEqual([from, to]);
  });

  it('has its values, and a checksum that detects any change', () => {
    const tlvs = [{ type: 0xea, value: Buffer.from('vpce-1') }];
    const bytes = formatProxyHeader('v2', { source: CLIENT, destination: SERVER, tlvs });
    expect(parseProxyHeader(bytes)).toMatchObject({
      header: { tlvs: [{ type: 0xea, value: Uint8Array.from(Buffer.from('vpce-1')) }] },
    });
    bytes[20] = (bytes[20] ?? 0) ^ 1;
    expect(parseProxyHeader(bytes)).toMatchObject({ kind: 'malformed' });
  });
});

const transports: readonly (readonly [string, () => Transport])[] = [
  ['node', nodeTransport],
  ...(process.platform === 'linux' ? ([['epoll', () => epollTransport()]] as const) : []),
];

describe.each(transports)('a backend of a route with proxyProtocol, on the transport %s,', (_name, makeTransport) => {
  it('gets version 2 before the hello, with the facts of the hello', async () => {
    await using backend = await peerListener();
    await using proxy = await proxyTo(routeTo(backend.address, 'v2'), [], makeTransport());
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    const peer = await backend.accept();
    const start = await peer.receive(16);
    const header = Buffer.concat([start, await peer.receive(start.readUInt16BE(14))]);
    expect((await peer.receive(HELLO.length)).equals(HELLO)).toBe(true);
    const result = parseProxyHeader(header);
    expect(result).toMatchObject({ kind: 'header', header: { source: client.local, destination: proxy.address } });
    const tlvs = result.kind === 'header' ? result.header.tlvs : [];
    const valueOf = (type: number): string | undefined => {
      const found = tlvs.find((one) => one.type === type);
      return found && Buffer.from(found.value).toString('latin1');
    };
    expect([valueOf(0x01), valueOf(0x02), valueOf(0x05)]).toEqual(['h2', 'api.example.com', '1']);
    expect(valueOf(0x20)?.startsWith('\x01\0\0\0\x01')).toBe(true);
  });

  it('gets version 1 before the hello', async () => {
    await using backend = await peerListener();
    await using proxy = await proxyTo(routeTo(backend.address, 'v1'), [], makeTransport());
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    const peer = await backend.accept();
    const expected = `PROXY TCP4 127.0.0.1 127.0.0.1 ${client.local.port} ${proxy.address.port}\r\n`;
    expect((await peer.receive(expected.length)).toString()).toBe(expected);
    expect((await peer.receive(HELLO.length)).equals(HELLO)).toBe(true);
  });

  it('gets it, too, when it replaces one that has ended before its first byte', async () => {
    await using first = await peerListener();
    await using second = await peerListener();
    const backends = [first, second].map(({ address }, priority) => ({ address, weight: 1, healthy: true, priority }));
    const route = { ...routeTo(first.address, 'v1'), backends, retryBeforeFirstByte: true };
    await using proxy = await proxyTo(route, [], makeTransport());
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    const expected = Buffer.concat([
      Buffer.from(`PROXY TCP4 127.0.0.1 127.0.0.1 ${client.local.port} ${proxy.address.port}\r\n`),
      HELLO,
    ]);
    const gone = await first.accept();
    expect((await gone.receive(expected.length)).equals(expected)).toBe(true);
    gone.reset();
    const peer = await second.accept();
    expect((await peer.receive(expected.length)).equals(expected)).toBe(true);
  });

  it('gets its own setting, or none', async () => {
    await using first = await peerListener();
    await using second = await peerListener();
    await using third = await peerListener();
    const own = [undefined, 'v1', 'off'] as const;
    const backends = [first, second, third].map(({ address }, index) => {
      const proxyProtocol = own[index];
      return { address, weight: 1, healthy: true, ...(proxyProtocol && { proxyProtocol }) };
    });
    await using proxy = await proxyTo({ ...routeTo(first.address, 'v2'), backends }, [], makeTransport());
    const clients = await Promise.all(backends.map(() => rawClient(proxy.address)));
    await Promise.all(clients.map((client) => client.send(HELLO)));
    const peers = await Promise.all([first, second, third].map((listener) => listener.accept()));
    const starts = await Promise.all(peers.map((peer) => peer.receive(6)));
    expect(starts.map((start) => start.toString('latin1'))).toEqual([
      '\r\n\r\n\0\r',
      'PROXY ',
      Buffer.from(HELLO).toString('latin1', 0, 6),
    ]);
    await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()));
  });

  it('with PostgreSQL gets it before the TLS request', async () => {
    await using backend = await peerListener();
    await using proxy = await proxyTo(routeTo(backend.address, 'v1'), [postgresBackends()], makeTransport());
    await using client = await rawClient(proxy.address);
    const request = Buffer.from('0000000804d2162f', 'hex');
    await client.send(request);
    expect((await client.receive(1)).toString()).toBe('S');
    await client.send(HELLO);
    const peer = await backend.accept();
    const header = `PROXY TCP4 127.0.0.1 127.0.0.1 ${client.local.port} ${proxy.address.port}\r\n`;
    expect((await peer.receive(header.length)).toString()).toBe(header);
    expect((await peer.receive(8)).equals(request)).toBe(true);
    await peer.send('S');
    expect((await peer.receive(HELLO.length)).equals(HELLO)).toBe(true);
  });
});

/**
 * The content of a version 2 header, parsed by its specification (HAProxy, doc/proxy-protocol.txt, section 2.2),
 * independent of our parser. A value of type SSL is `client`, `verify`, and then nested values.
 */
function decoded(header: Buffer): Readonly<Record<string, unknown>> {
  const addressBytes = { 0x11: 12, 0x21: 36 }[header.readUInt8(13)] ?? 0;
  const tlvs = (from: number, to: number): Readonly<Record<string, Buffer>> => {
    const found: Record<string, Buffer> = {};
    for (let at = from; at < to; at += 3 + header.readUInt16BE(at + 1))
      found[header.toString('hex', at, at + 1)] = header.subarray(at + 3, at + 3 + header.readUInt16BE(at + 1));
    return found;
  };
  const { '20': ssl, '03': _checksum, ...plain } = tlvs(16 + addressBytes, header.length);
  const at = ssl === undefined ? 0 : ssl.byteOffset - header.byteOffset;
  return {
    ...Object.fromEntries(Object.entries(plain).map(([type, value]) => [type, value.toString('latin1')])),
    ...(ssl !== undefined && {
      ssl: { client: ssl.readUInt8(0), isVerified: ssl.readUInt32BE(1) === 0, has: tlvs(at + 5, at + ssl.length) },
    }),
  };
}

describe('the values of version 2', () => {
  it.each([
    ['all that a hello says', { alpn: ['h2', 'http/1.1'], versions: [0x03_04] }, { '01': 'h2' }, 'TLSv1.3'],
    ['no version where several are offered', { versions: [0x03_04, 0x03_03] }, {}, undefined],
    ['a version of old', { versions: [0x03_03] }, {}, 'TLSv1.2'],
    ['no protocol that only tries servers (RFC 8701)', { alpn: ['\x1a\x1a', 'h2'] }, { '01': 'h2' }, undefined],
    ['a protocol in bytes of any kind', { alpn: ['\xff\x80'] }, { '01': '\xff\x80' }, undefined],
  ])('are %s', async (_what, options, more, version) => {
    await using backend = await peerListener();
    await using proxy = await proxyTo(routeTo(backend.address, 'v2'));
    await using client = await rawClient(proxy.address);
    const latin1 = (text: string): string => text;
    const alpn = 'alpn' in options ? { alpn: options.alpn.map(latin1) } : {};
    await client.send(inRecords(clientHello({ serverName: 'api.example.com', ...options, ...alpn })));
    const peer = await backend.accept();
    const start = await peer.receive(16);
    const header = Buffer.concat([start, await peer.receive(start.readUInt16BE(14))]);
    const has = version === undefined ? {} : { '21': Buffer.from(version) };
    const ssl = { client: 1, isVerified: false, has };
    expect(decoded(header)).toEqual({ '02': 'api.example.com', '05': '1', ...more, ssl });
  });
});

/** A port that was free a moment ago: these servers cannot choose one themselves. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Runs a server with this configuration until it is disposed of. */
async function daemon(
  command: string,
  file: string,
  text: (folder: string) => string,
  args: (path: string, folder: string) => readonly string[],
) {
  const folder = await mkdtemp(join(tmpdir(), 'meshgate-proxy-'));
  await chmod(folder, 0o755);
  const path = join(folder, file);
  await writeFile(path, text(folder));
  const child = spawn(command, args(path, folder), { stdio: 'ignore' });
  const ended = once(child, 'exit');
  return {
    pid: child.pid,
    async [Symbol.asyncDispose](): Promise<void> {
      child.kill('SIGKILL');
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function isListening(port: number): Promise<void> {
  for (;;) {
    try {
      await using client = await rawClient({ host: '127.0.0.1', port });
      client.end();
      return;
    } catch {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

/** HAProxy with the configuration `text`, once it listens on `port`. */
async function haproxyOn(port: number, text: string) {
  const haproxy = await daemon(
    'haproxy',
    'haproxy.cfg',
    () => text,
    (path) => ['-db', '-f', path],
  );
  await isListening(port);
  return haproxy;
}

function isThere(command: string): true | string {
  return spawnSync(command, ['-v']).error === undefined || 'no binary found';
}

needs('haproxy', isThere('haproxy'))('HAProxy behind a route with proxyProtocol', () => {
  it.each(['v1', 'v2'] as const)(
    'receives the client address by %s, and passes it on to its own backend',
    async (version) => {
      await using behind = await peerListener();
      const port = await freePort();
      const text = `defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen in
  bind 127.0.0.1:${port} accept-proxy
  server behind 127.0.0.1:${behind.address.port} send-proxy
`;
      await using haproxy = await haproxyOn(port, text);
      expect(haproxy.pid).toBeDefined();
      await using proxy = await proxyTo(routeTo({ host: '127.0.0.1', port }, version));
      await using client = await rawClient(proxy.address);
      await client.send(HELLO);
      const expected = `PROXY TCP4 127.0.0.1 127.0.0.1 ${client.local.port} ${proxy.address.port}\r\n`;
      for (;;) {
        const peer = await behind.accept();
        // The probe for HAProxy's listener has also arrived here, and has disconnected.
        const header = await peer.receive(expected.length).catch(() => undefined);
        if (header === undefined) continue;
        expect(header.toString()).toBe(expected);
        expect((await peer.receive(HELLO.length)).equals(HELLO)).toBe(true);
        return;
      }
    },
  );
});

needs('haproxy', isThere('haproxy'))('HAProxy behind a route with proxyProtocol: v2', () => {
  it('writes the server name and the id of the connection to its log, as they are in ours', async () => {
    await using behind = await peerListener();
    await using log = await peerListener();
    const port = await freePort();
    // It logs to a socket, since its standard output is not read.
    const text = `global
  log ring@lines local0
ring lines
  format raw
  maxlen 1024
  size 16384
  server log 127.0.0.1:${log.address.port}
defaults
  mode tcp
  log global
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen in
  bind 127.0.0.1:${port} accept-proxy
  log-format "from %ci name %[fc_pp_authority] id %[fc_pp_unique_id] end"
  server behind 127.0.0.1:${behind.address.port}
`;
    await using haproxy = await haproxyOn(port, text);
    expect(haproxy.pid).toBeDefined();
    await using proxy = await proxyTo(routeTo({ host: '127.0.0.1', port }, 'v2'));
    const client = await rawClient(proxy.address);
    await client.send(HELLO);
    const peer = await behind.accept();
    expect((await peer.receive(HELLO.length)).equals(HELLO)).toBe(true);
    client.reset();
    const lines = await log.accept();
    const expected = 'from 127.0.0.1 name api.example.com id 1 end';
    let logged = '';
    while (!logged.includes(expected)) logged += (await lines.receive(1)).toString();
    await client[Symbol.asyncDispose]();
  });

  it.each([
    ['api.example.com', true],
    ['other.example.com', false],
  ])('reads the server name and the id of the connection, and refuses others: %s', async (name, isIn) => {
    await using behind = await peerListener();
    const port = await freePort();
    const text = `defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen in
  bind 127.0.0.1:${port} accept-proxy
  tcp-request session reject unless { fc_pp_authority -m str ${name} } { fc_pp_unique_id -m found }
  server behind 127.0.0.1:${behind.address.port}
`;
    await using haproxy = await haproxyOn(port, text);
    expect(haproxy.pid).toBeDefined();
    await using proxy = await proxyTo(routeTo({ host: '127.0.0.1', port }, 'v2'));
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    if (!isIn) return void (await client.closed);
    const peer = await behind.accept();
    expect((await peer.receive(HELLO.length)).equals(HELLO)).toBe(true);
  });
});

needs('nginx', isThere('nginx'))('nginx behind a route with proxyProtocol', () => {
  it.each(['v1', 'v2'] as const)('accepts %s and passes the hello on', async (version) => {
    await using api = await tlsBackend('api.example.com');
    const port = await freePort();
    const text = (folder: string): string => `${MODULES}daemon off;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log;
events {}
stream { server { listen 127.0.0.1:${port} proxy_protocol; proxy_pass 127.0.0.1:${api.address.port}; } }
`;
    await using nginx = await daemon('nginx', 'nginx.conf', text, (path, folder) => ['-c', path, '-p', folder]);
    expect(nginx.pid).toBeDefined();
    await isListening(port);
    await using proxy = await proxyTo(routeTo({ host: '127.0.0.1', port }, version));
    await using client = await tlsClient(proxy.address, 'api.example.com', { ca: api.ca });
    expect(await client.echo('hello')).toBe('hello');
  });
});

const STREAM_MODULE = '/usr/lib/nginx/modules/ngx_stream_module.so';
/** A separate package in Debian. */
const MODULES = existsSync(STREAM_MODULE) ? `load_module ${STREAM_MODULE};\n` : '';
