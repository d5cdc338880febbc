import { describe, expect, it } from 'vitest';
import { readHello } from '../src/pipeline/sniff.ts';
import type { Sniffer, Verdict } from '../src/pipeline/stages.ts';
import type { Connection } from '../src/transport/transport.ts';

/** A connection that has received `pieces`, followed by the end of the stream. */
function received(...pieces: Uint8Array[]): Connection {
  const end = { host: '::1', port: 1 };
  // An index instead of `shift()`, which moves all remaining items of a long list each time.
  const coming = pieces.values();
  const read = () => Promise.resolve(coming.next().value);
  return {
    remote: end,
    local: end,
    onReset: undefined,
    read,
    write: () => Promise.resolve(),
    destroy: () => undefined,
  };
}

/** The result of reading a hello of at most `helloMaxBytes`. */
function reading(connection: Connection, sniffer: Sniffer, helloMaxBytes: number): ReturnType<typeof readHello> {
  return readHello(connection, { sniffer, limits: { helloMaxBytes } });
}

/** All bytes read of a hello that was completed. */
async function headOf(...what: Parameters<typeof reading>): Promise<Uint8Array> {
  const sniffed = await reading(...what);
  if (sniffed === undefined) throw new Error('expected a hello, found a client that left without a word');
  return sniffed.head;
}

const hello: Verdict = {
  kind: 'hello',
  hello: { protocol: 'x' },
};

/** Needs `bytes` bytes; counts its calls and records the progress that it was passed. */
function wants(bytes: number): Sniffer & { readonly progress: unknown[] } {
  const progress: unknown[] = [];
  return {
    name: 'counts',
    progress,
    inspect(head, before) {
      progress.push(before);
      return head.length >= bytes ? hello : { kind: 'more', progress: head.length };
    },
  };
}

describe('reading a hello', () => {
  it('passes a hello in one piece on without a copy', async () => {
    const bytes = new Uint8Array([1, 2, 3]);
    const head = await headOf(received(bytes), wants(3), 100);
    expect(head.buffer).toBe(bytes.buffer);
  });

  it('collects pieces in order, and passes the sniffer its own progress back', async () => {
    const sniffer = wants(5);
    const head = await headOf(
      received(new Uint8Array([1, 2]), new Uint8Array([3]), new Uint8Array([4, 5, 6])),
      sniffer,
      100,
    );
    expect([...head]).toEqual([1, 2, 3, 4, 5, 6]);
    expect(sniffer.progress).toEqual([undefined, 2, 3]);
  });

  it('never writes into a given piece', async () => {
    const roomy = new Uint8Array(8).subarray(0, 2);
    await reading(received(roomy, new Uint8Array([9, 9])), wants(4), 100);
    expect([...new Uint8Array(roomy.buffer)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });

  it('collects 64 KiB that arrive byte by byte without copying them again each time', async () => {
    const all = Uint8Array.from({ length: 65_536 }, (_, index) => index & 0xff);
    const pieces = Array.from(all, (_, index) => all.subarray(index, index + 1));
    const buffers = new Set<ArrayBufferLike>();
    const sniffer: Sniffer = {
      name: 'notes buffers',
      inspect(head) {
        buffers.add(head.buffer);
        return head.length === 65_536 ? hello : { kind: 'more' };
      },
    };
    const head = await headOf(received(...pieces), sniffer, 100_000);
    expect(Buffer.compare(head, all)).toBe(0);
    expect(buffers.size).toBeLessThan(8);
  });

  it.each<[string, Verdict, string, string]>([
    ['the sniffer rejects', { kind: 'reject', reason: 'no such version' }, 'SNIFF_MALFORMED', 'no such version'],
    ['the limit is reached', { kind: 'more' }, 'SNIFF_TOO_LONG', 'hello incomplete after 4 bytes'],
  ])('ends when %s', async (_when, verdict, code, message) => {
    const outcome = reading(received(new TextEncoder().encode('GET ')), { name: 'x', inspect: () => verdict }, 4);
    await expect(outcome).rejects.toMatchObject({ code, message });
  });

  it('returns the error of the connection when every sniffer passes, unless a route accepts it', async () => {
    const bytes = new TextEncoder().encode('GET ');
    const sniffed = await reading(received(bytes), { name: 'x', inspect: () => ({ kind: 'pass' }) }, 4);
    expect(sniffed).toMatchObject({
      hello: { protocol: 'unknown' },
      head: bytes,
      unrecognised: {
        code: 'SNIFF_UNRECOGNIZED',
        message: 'expected a protocol that a sniffer knows, found bytes that begin with 47455420: HTTP without TLS',
      },
    });
    expect(sniffed?.hello.serverName).toBeUndefined();
  });

  it.each([
    [
      'PROXY TCP4 192.0.2.1 ',
      /: a PROXY protocol header, which the listener does not accept \(setting proxyProtocol\)$/,
    ],
    ['\r\n\r\n\0\r\nQUIT\n!', /: a PROXY protocol header/],
    ['SSH-2.0-OpenSSH_9.2', /: SSH$/],
    ['CONNECT db:443 HTTP', /: HTTP without TLS$/],
    ['PRI * HTTP/2.0\r\n', /: HTTP\/2 without TLS$/],
    ['EHLO client.example', /: SMTP, which begins without TLS$/],
    ['*1\r\n$4\r\nPING\r\n', /: Redis without TLS$/],
    ['\0\0\0\u0008\u0004\u00d2\u0016/', /: an encryption request of PostgreSQL \(the filter postgres handles it\)$/],
    ['220 mail ready', /begin with 323230206d61696c$/],
  ])('names the most likely protocol: %j', async (logged, message) => {
    const bytes = Buffer.from(logged, 'latin1');
    const sniffed = await reading(received(bytes), { name: 'x', inspect: () => ({ kind: 'pass' }) }, 64);
    expect(sniffed?.unrecognised?.message).toMatch(message);
  });

  it('accepts a complete hello, however much follows it', async () => {
    expect(await headOf(received(new Uint8Array(500)), wants(10), 100)).toHaveLength(500);
  });

  it('refuses a hello above the limit, even if its end arrives with its beginning', async () => {
    await expect(reading(received(new Uint8Array(500)), wants(101), 100)).rejects.toMatchObject({
      code: 'SNIFF_TOO_LONG',
      message: 'hello incomplete after 100 bytes',
    });
  });

  it('returns nothing for a client that closes without sending a byte', async () => {
    expect(await reading(received(), wants(10), 100)).toBeUndefined();
  });

  it('ends when the client closes', async () => {
    await expect(reading(received(new Uint8Array(3)), wants(10), 100)).rejects.toMatchObject({
      code: 'DOWNSTREAM_RESET',
      message: 'the client closed after 3 bytes, before its hello was complete',
    });
  });
});
