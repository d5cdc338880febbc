import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { AddressBook, systemResolve } from '../src/pipeline/addresses.ts';
import type { Resolution } from '../src/pipeline/addresses.ts';
import type { ProxyEvent } from '../src/observe.ts';

const ignore = { observe: () => undefined };
const endpoint = { host: 'db.example', port: 5432 };

afterEach(() => void vi.useRealTimers());

function hosts(found: readonly { host: string }[]): string[] {
  return found.map(({ host }) => host);
}

describe('an address book', () => {
  it('does not ask for what is an address already', () => {
    const book = new AddressBook(ignore, () => Promise.reject(new Error('asked')));
    for (const host of ['10.0.0.1', '2001:db8::1', 'unix:/run/db.sock']) {
      expect(book.find({ host, port: 1 })).toEqual([{ host, port: 1 }]);
    }
  });

  it('answers with all addresses, beginning with another each time', async () => {
    const book = new AddressBook(ignore, () =>
      Promise.resolve({ hosts: ['10.0.0.1', '10.0.0.2', '::1'], ttlSeconds: 60 }),
    );
    expect(hosts(await book.find(endpoint))).toEqual(['10.0.0.1', '10.0.0.2', '::1']);
    expect(hosts(await book.find(endpoint))).toEqual(['10.0.0.2', '::1', '10.0.0.1']);
    expect(hosts(await book.find(endpoint))).toEqual(['::1', '10.0.0.1', '10.0.0.2']);
  });

  it('asks once for many that wait, and again when the time to live is over', async () => {
    vi.useFakeTimers();
    let asked = 0;
    const book = new AddressBook(ignore, () => Promise.resolve({ hosts: [`10.0.0.${(asked += 1)}`], ttlSeconds: 30 }));
    await Promise.all([book.find(endpoint), book.find(endpoint), book.find(endpoint)]);
    expect(asked).toBe(1);
    vi.advanceTimersByTime(29_000);
    expect(hosts(await book.find(endpoint))).toEqual(['10.0.0.1']);
    vi.advanceTimersByTime(2_000);
    expect(hosts(await book.find(endpoint))).toEqual(['10.0.0.2']);
  });

  it('keeps the last good answer when the name system fails, and says so', async () => {
    vi.useFakeTimers();
    const events: ProxyEvent[] = [];
    const answers: (Resolution | Error)[] = [{ hosts: ['10.0.0.1'], ttlSeconds: 1 }, new Error('SERVFAIL')];
    const book = new AddressBook({ observe: (event) => void events.push(event) }, () => {
      const answer = answers.shift() ?? new Error('asked too often');
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    });
    await book.find(endpoint);
    vi.advanceTimersByTime(1_500);
    expect(hosts(await book.find(endpoint))).toEqual(['10.0.0.1']);
    expect(events).toMatchObject([{ type: 'resolution.failed', host: 'db.example', lastGood: true }]);
    expect(hosts(await book.find(endpoint))).toEqual(['10.0.0.1']);
    expect(events).toHaveLength(1);
  });

  it('does not wait for a slow name system while it has an answer', async () => {
    vi.useFakeTimers();
    const answers = [Promise.resolve({ hosts: ['10.0.0.1'], ttlSeconds: 1 }), new Promise<Resolution>(() => undefined)];
    const book = new AddressBook(ignore, () => answers.shift() ?? Promise.reject(new Error('asked too often')));
    await book.find(endpoint);
    vi.advanceTimersByTime(1_500);
    const found = book.find(endpoint);
    await vi.advanceTimersByTimeAsync(250);
    expect(hosts(await found)).toEqual(['10.0.0.1']);
  });

  it('says which name has no address', async () => {
    const book = new AddressBook(ignore, () => Promise.reject(new Error('ENOTFOUND')));
    await expect(book.find(endpoint)).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
      message: 'no address for db.example: ENOTFOUND',
    });
  });
});

describe('the name system', () => {
  const servers: Socket[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) server.close();
  });

  /** A name server on loopback that has one A record, one AAAA record and nothing else, with their time to live. */
  async function nameServer(a: { ip: string; ttl: number }, aaaa: { ip: string; ttl: number }): Promise<string> {
    const server = createSocket('udp4');
    servers.push(server);
    server.on('message', (query, { port, address }) => {
      const type = query.readUInt16BE(query.length - 4 - optBytes(query));
      const question = query.subarray(12, query.length - optBytes(query));
      const record =
        type === 1
          ? answer(1, a.ttl, Buffer.from(a.ip.split('.').map(Number)))
          : answer(28, aaaa.ttl, Buffer.from(aaaa.ip, 'hex'));
      const header = Buffer.from([0, 0, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
      query.copy(header, 0, 0, 2);
      server.send(Buffer.concat([header, question, record]), port, address);
    });
    await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve));
    return `127.0.0.1:${server.address().port}`;
  }

  /** Bytes of the EDNS record (RFC 6891) that some resolvers append to their question. */
  function optBytes(query: Buffer): number {
    return query.readUInt16BE(10) === 0 ? 0 : 11;
  }

  function answer(type: number, ttl: number, data: Buffer): Buffer {
    const fixed = Buffer.alloc(12);
    fixed.writeUInt16BE(0xc00c, 0);
    fixed.writeUInt16BE(type, 2);
    fixed.writeUInt16BE(1, 4);
    fixed.writeUInt32BE(ttl, 6);
    fixed.writeUInt16BE(data.length, 10);
    return Buffer.concat([fixed, data]);
  }

  it('gives A and AAAA records and the shorter of their times to live', async () => {
    const server = await nameServer({ ip: '192.0.2.7', ttl: 90 }, { ip: '20010db8000000000000000000000007', ttl: 45 });
    expect(await systemResolve([server])('db.example')).toEqual({
      hosts: ['192.0.2.7', '2001:db8::7'],
      ttlSeconds: 45,
    });
  });

  it('falls back to the hosts file', async () => {
    const { hosts: found } = await systemResolve()('localhost');
    expect(found.some((host) => host === '127.0.0.1' || host === '::1')).toBe(true);
  });
});
