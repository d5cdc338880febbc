import { DEFAULT_LIMITS, nodeTransport, ProxyError } from '@meshgate/core';
import type { ConnectionFilter, Connector, Endpoint, Layer, Transport } from '@meshgate/core';
import { AddressBook, Admission, balancedConnector, layered, Outliers, Sessions } from '@meshgate/core/parts';
import { epollTransport } from '@meshgate/epoll-transport';
import { clientHello, inRecords, peerListener, rawClient, recorder, tcpBackend } from '@meshgate/testkit';
import { sniSniffer } from '@meshgate/sni';
import { describe, expect, it } from 'vitest';
import {
  postgres,
  POSTGRES_SSL,
  postgresBackends,
  PROXY_AUTHORITY,
  PROXY_HEADER,
  proxyProtocol,
} from '../src/index.ts';
import { v1, v2 } from './headers.ts';

const KEEP_ALIVE = { idleMs: 60_000 };
const HELLO = inRecords(clientHello({ serverName: 'backend.example' }));
const CLIENT = { host: '192.0.2.1', port: 56_324 };
const SERVER = { host: '198.51.100.1', port: 443 };
const SSL_REQUEST = Buffer.from('0000000804d2162f', 'hex');
const GSSENC_REQUEST = Buffer.from('0000000804d21630', 'hex');

interface ProxyOptions {
  readonly backend: Endpoint;
  readonly filters: readonly ConnectionFilter[];
  readonly layers?: readonly Layer<Connector>[];
  readonly perClient?: number;
  readonly transport?: Transport;
}

/** A proxy with filters on its listener. */
async function proxy({ backend, filters, layers = [], perClient, transport = nodeTransport() }: ProxyOptions) {
  const observer = recorder();
  const limits = { ...DEFAULT_LIMITS, ...(perClient !== undefined && { perClient: { connections: perClient } }) };
  const route = { name: 'r', serverNames: [], backends: [{ address: backend, weight: 1, healthy: true }] };
  const [addresses, outliers] = [new AddressBook(observer), new Outliers(observer)];
  const dialler = balancedConnector({ addresses, outliers, observer, limits, keepAlive: KEEP_ALIVE });
  const sessions = new Sessions({
    filtersOf: () => filters,
    sniffer: sniSniffer(),
    resolver: { resolve: ({ serverName }) => (serverName === undefined ? undefined : route) },
    connector: layered(dialler, layers),
    transport,
    limits,
    admission: new Admission(limits),
    observer,
  });
  const options = { backlog: 16, keepAlive: KEEP_ALIVE, onPause: () => undefined };
  const listening = await transport.listen({ host: '127.0.0.1', port: 0 }, options, (connection) =>
    sessions.accept(connection, 'test'),
  );
  return {
    at: listening.address,
    observer,
    sessions,
    closed: async (code?: string) =>
      (await observer.until('connection.closed', ({ closed }) => closed.error?.code === code)).closed,
    async [Symbol.asyncDispose](): Promise<void> {
      await listening.close();
      for (const session of sessions) session.cut(new ProxyError('INTERNAL', 'over'));
      await sessions.empty();
    },
  };
}

const behindLoopback = (): ConnectionFilter => proxyProtocol({ from: ['127.0.0.0/8'] });

describe('the PROXY protocol, inbound,', () => {
  it.each<[string, Uint8Array]>([
    ['version 1', v1('TCP4 192.0.2.1 198.51.100.1 56324 443')],
    ['version 2', v2({ source: CLIENT, destination: SERVER, checksum: true, tlvs: [[2, Buffer.from('db.example')]] })],
  ])('of %s sets the client, in one segment with the hello', async (_version, header) => {
    await using backend = await tcpBackend('b');
    await using one = await proxy({ backend: backend.address, filters: [behindLoopback()] });
    await using client = await rawClient(one.at);
    await client.send(Buffer.concat([header, HELLO]));
    expect((await client.receive(HELLO.length)).equals(HELLO)).toBe(true);
    expect(one.sessions.live()[0]?.connection).toMatchObject({ remote: CLIENT, peer: { host: '127.0.0.1' } });
    client.end();
    const closed = await one.closed();
    expect(closed).toMatchObject({ connection: { remote: CLIENT }, transfer: { bytesUp: HELLO.length } });
    expect(PROXY_HEADER.of(closed.connection)).toMatchObject({ source: CLIENT, destination: SERVER });
  });

  it("keeps the header's data besides the addresses", async () => {
    await using backend = await tcpBackend('b');
    await using one = await proxy({ backend: backend.address, filters: [behindLoopback()] });
    await using client = await rawClient(one.at);
    const aws = Buffer.from('\u0001vpce-08d2bf15fac5001c9');
    await client.send(
      v2({
        source: CLIENT,
        destination: SERVER,
        tlvs: [
          [0xea, aws],
          [2, Buffer.from('db.example')],
        ],
      }),
    );
    await client.send(HELLO);
    await client.receive(HELLO.length);
    client.end();
    const { connection } = await one.closed();
    expect(PROXY_HEADER.of(connection)?.tlvs.map(({ type }) => type)).toEqual([0xea, 2]);
    expect(PROXY_AUTHORITY.of(connection)).toBe('db.example');
    expect(connection.facts?.get('proxy.authority')?.shown).toBe('db.example');
  });

  it.each<[string, Uint8Array]>([
    ['version 1', v1('TCP6 2001:db8::1 2001:db8::2 56324 443')],
    [
      'version 2',
      v2({ source: { host: '2001:db8::1', port: 56_324 }, destination: { host: '2001:db8::2', port: 443 } }),
    ],
  ])('of %s may arrive byte by byte', async (_version, header) => {
    await using backend = await tcpBackend('b');
    await using one = await proxy({ backend: backend.address, filters: [behindLoopback()] });
    await using client = await rawClient(one.at);
    await client.sendInPieces(Array.from(Buffer.concat([header, HELLO]), (byte) => Uint8Array.of(byte)));
    expect((await client.receive(HELLO.length)).equals(HELLO)).toBe(true);
    client.end();
    expect((await one.closed()).connection.remote).toEqual({ host: '2001:db8::1', port: 56_324 });
  });

  it.each<[string, Uint8Array]>([
    ['LOCAL', v2({ command: 0x20, source: CLIENT, destination: SERVER })],
    ['UNKNOWN', v1('UNKNOWN')],
  ])('of %s keeps the TCP peer as the client', async (_what, header) => {
    await using backend = await tcpBackend('b');
    await using one = await proxy({ backend: backend.address, filters: [behindLoopback()] });
    await using client = await rawClient(one.at);
    await client.send(Buffer.concat([header, HELLO]));
    await client.receive(HELLO.length);
    client.end();
    expect((await one.closed()).connection).toMatchObject({ remote: { host: '127.0.0.1' } });
  });

  it('from an untrusted address is refused before a byte is read', async () => {
    await using backend = await tcpBackend('b');
    await using one = await proxy({
      backend: backend.address,
      filters: [proxyProtocol({ from: ['10.0.0.0/8', '::1'] })],
    });
    await using client = await rawClient(one.at);
    await client.closed;
    const { error, connection } = await one.closed('PROXY_PROTOCOL_UNTRUSTED');
    expect(error?.message).toMatch(/^expected a connection from 10\.0\.0\.0\/8, ::1, found one from 127\.0\.0\.1:/);
    expect(connection.remote.host).toBe('127.0.0.1');
    expect(backend.accepted).toBe(0);
  });

  it.each<[string, Uint8Array, RegExp]>([
    [
      'no header',
      HELLO,
      /^expected a PROXY protocol header, found bytes that begin with 16030.*: a ClientHello, so the peer sends no/,
    ],
    ['a broken header', v1('TCP4 localhost 198.51.100.1 1 2'), /^PROXY protocol: expected two addresses/],
  ])('with %s is malformed', async (_what, bytes, message) => {
    await using backend = await tcpBackend('b');
    await using one = await proxy({ backend: backend.address, filters: [behindLoopback()] });
    await using client = await rawClient(one.at);
    await client.send(bytes);
    await client.closed;
    expect((await one.closed('PROXY_PROTOCOL_MALFORMED')).error?.message).toMatch(message);
    expect(backend.accepted).toBe(0);
  });

  it('counts the client in the header against the limit of one client, not the load balancer', async () => {
    await using backend = await tcpBackend('b');
    await using one = await proxy({ backend: backend.address, filters: [behindLoopback()], perClient: 1 });
    const header = (host: string): Uint8Array => v1(`TCP4 ${host} 198.51.100.1 56324 443`);
    await using first = await rawClient(one.at);
    await first.send(Buffer.concat([header('192.0.2.1'), HELLO]));
    await first.receive(HELLO.length);
    await using second = await rawClient(one.at);
    await second.send(Buffer.concat([header('192.0.2.1'), HELLO]));
    await second.closed;
    expect((await one.closed('LIMIT_REACHED')).error?.message).toBe(
      'limits.perClient.connections: 192.0.2.1 has 1 connections',
    );
    await using other = await rawClient(one.at);
    await other.send(Buffer.concat([header('192.0.2.2'), HELLO]));
    await other.receive(HELLO.length);
  });

  it('of a load balancer that checks the port reports nothing', async () => {
    await using backend = await tcpBackend('b');
    await using one = await proxy({ backend: backend.address, filters: [behindLoopback()] });
    await using client = await rawClient(one.at);
    client.end();
    expect((await one.closed()).hello).toBeUndefined();
  });
});

describe("PostgreSQL's requests", () => {
  it('for TLS are accepted, then the ClientHello counts', async () => {
    await using backend = await tcpBackend('b');
    await using one = await proxy({ backend: backend.address, filters: [postgres()] });
    await using client = await rawClient(one.at);
    await client.send(SSL_REQUEST);
    expect((await client.receive(1)).toString()).toBe('S');
    await client.send(HELLO);
    expect((await client.receive(HELLO.length)).equals(HELLO)).toBe(true);
    client.end();
    const closed = await one.closed();
    expect(closed).toMatchObject({ hello: { serverName: 'backend.example' }, transfer: { bytesUp: HELLO.length } });
    expect(POSTGRES_SSL.of(closed.connection)).toBe(true);
  });

  it('for GSSAPI are declined, and TLS may be requested after that', async () => {
    await using backend = await tcpBackend('b');
    await using one = await proxy({ backend: backend.address, filters: [postgres()] });
    await using client = await rawClient(one.at);
    await client.send(GSSENC_REQUEST);
    expect((await client.receive(1)).toString()).toBe('N');
    await client.send(SSL_REQUEST);
    expect((await client.receive(1)).toString()).toBe('S');
    await client.send(HELLO);
    await client.receive(HELLO.length);
  });

  it('may be followed at once by the hello, and arrive byte by byte', async () => {
    await using backend = await tcpBackend('b');
    await using one = await proxy({ backend: backend.address, filters: [postgres()] });
    await using client = await rawClient(one.at);
    await client.sendInPieces(Array.from(Buffer.concat([SSL_REQUEST, HELLO]), (byte) => Uint8Array.of(byte)));
    const received = await client.receive(1 + HELLO.length);
    expect(received.subarray(0, 1).toString()).toBe('S');
    expect(received.subarray(1).equals(HELLO)).toBe(true);
  });

  it('are optional: a ClientHello at once passes, and is not a request', async () => {
    await using backend = await tcpBackend('b');
    await using one = await proxy({ backend: backend.address, filters: [postgres()], layers: [postgresBackends()] });
    await using client = await rawClient(one.at);
    await client.send(HELLO);
    expect((await client.receive(HELLO.length)).equals(HELLO)).toBe(true);
    client.end();
    expect(POSTGRES_SSL.of((await one.closed()).connection)).toBeUndefined();
  });

  it('in plain text are refused as an unknown protocol', async () => {
    await using backend = await tcpBackend('b');
    await using one = await proxy({ backend: backend.address, filters: [postgres()] });
    await using client = await rawClient(one.at);
    await client.send(Buffer.from('0000000800030000', 'hex'));
    await client.closed;
    expect((await one.closed('SNIFF_UNRECOGNIZED')).transfer.bytesUp).toBe(0);
  });

  it('may follow the PROXY protocol', async () => {
    await using backend = await tcpBackend('b');
    await using one = await proxy({ backend: backend.address, filters: [behindLoopback(), postgres()] });
    await using client = await rawClient(one.at);
    await client.send(Buffer.concat([v1('TCP4 192.0.2.1 198.51.100.1 56324 443'), SSL_REQUEST, HELLO]));
    expect((await client.receive(1 + HELLO.length)).subarray(0, 1).toString()).toBe('S');
    expect(one.sessions.live()[0]?.connection.remote).toEqual(CLIENT);
  });
});

const transports: readonly (readonly [string, () => Transport])[] = [
  ['node', nodeTransport],
  ...(process.platform === 'linux' ? ([['epoll', () => epollTransport()]] as const) : []),
];

describe.each(transports)('a backend that is a PostgreSQL server, on the transport %s,', (_name, makeTransport) => {
  it('gets a TLS request before the hello, when the client sent one', async () => {
    await using listener = await peerListener();
    const transport = makeTransport();
    await using one = await proxy({
      backend: listener.address,
      filters: [postgres()],
      layers: [postgresBackends()],
      transport,
    });
    await using client = await rawClient(one.at);
    await client.send(Buffer.concat([SSL_REQUEST, HELLO]));
    const server = await listener.accept();
    expect((await server.receive(8)).equals(SSL_REQUEST)).toBe(true);
    await server.send(Buffer.from('S'));
    expect((await server.receive(HELLO.length)).equals(HELLO)).toBe(true);
    await server.send(Buffer.from('hello'));
    expect((await client.receive(6)).toString()).toBe('Shello');
  });

  it.each([
    ['declines', 'N', 'expected a PostgreSQL server that accepts TLS, found one that declines it'],
    ['is something else', 'HTTP/1.1 400', 'found a response that begins with 485454502f312e31'],
  ])('and %s has failed', async (_what, response, message) => {
    await using listener = await peerListener();
    const transport = makeTransport();
    await using one = await proxy({
      backend: listener.address,
      filters: [postgres()],
      layers: [postgresBackends()],
      transport,
    });
    await using client = await rawClient(one.at);
    await client.send(Buffer.concat([SSL_REQUEST, HELLO]));
    const server = await listener.accept();
    await server.receive(8);
    await server.send(Buffer.from(response));
    await client.closed;
    expect((await one.closed('CONNECT_FAILED')).error?.message).toContain(message);
  });
});
