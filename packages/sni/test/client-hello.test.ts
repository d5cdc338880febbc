import { clientHello, everyPrefix, everySplit, inRecords, record } from '@meshgate/testkit';
import type { Extension } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { parseClientHello, traceOf } from '../src/index.ts';
import type { RejectReason } from '../src/index.ts';
import { arriving, outcome } from './feeding.ts';
import { VARIETIES } from './varieties.ts';

const FULL_RECORD = 2 ** 14;

describe.each(VARIETIES)('$name', ({ message, expected }) => {
  const hello = {
    kind: 'hello',
    alpn: [],
    supportedVersions: [0x0304, 0x0303],
    ech: false,
    earlyData: false,
    // After the type, the length and the version.
    trace: traceOf(message, 6),
    ...expected,
  };

  describe.each([1, 2, 17, 512, FULL_RECORD])('in records of %i bytes', (size) => {
    const bytes = inRecords(message, size);

    it('is parsed completely', () => {
      expect(parseClientHello(bytes)).toStrictEqual({ ...hello, length: bytes.length });
    });

    it('requests more at every prefix', () => {
      for (const prefix of everyPrefix(bytes)) {
        const { kind } = parseClientHello(prefix);
        if (kind !== 'more') expect.fail(`${kind} at byte ${prefix.length}`);
      }
    });

    it('is the same byte by byte', () => {
      const verdicts = [...arriving(bytes, 1)];
      expect(verdicts).toHaveLength(bytes.length);
      expect(verdicts.at(-1)).toStrictEqual({ ...hello, length: bytes.length });
    });

    it('leaves the following bytes to the caller', () => {
      const earlyData = record(23, new Uint8Array(100), 0x0303);
      const followed = Buffer.concat([bytes, earlyData]);
      expect(parseClientHello(followed)).toStrictEqual({ ...hello, length: bytes.length });
    });
  });
});

describe('lists of a hello', () => {
  const listsOf = (alpn: readonly string[], versions: readonly number[]) => {
    const verdict = parseClientHello(inRecords(clientHello({ alpn, versions })));
    return verdict.kind === 'hello' ? verdict : expect.fail(verdict.kind);
  };

  it('are distinguished even with equal lengths, in any sequence', () => {
    for (const alpn of [['h2'], ['h3'], ['h2'], ['a', 'b'], ['h2'], ['ab', 'c'], ['a', 'bc']])
      expect(listsOf(alpn, [0x0304]).alpn).toEqual(alpn);
    for (const versions of [
      [0x0304, 0x0303],
      [0x0303, 0x0304],
      [0x0304, 0x0303],
    ])
      expect(listsOf(['h2'], versions).supportedVersions).toEqual(versions);
  });

  it('that are equal are shared, and immutable', () => {
    const [first, second] = [listsOf(['h2', 'http/1.1'], [0x0304]), listsOf(['h2', 'http/1.1'], [0x0304])];
    expect(second.alpn).toBe(first.alpn);
    expect(second.supportedVersions).toBe(first.supportedVersions);
    expect([first.alpn, first.supportedVersions].every(Object.isFrozen)).toBe(true);
  });

  it('of any length are parsed', () => {
    const alpn = Array.from({ length: 40 }, (_, index) => `protocol-${index}`);
    for (let round = 0; round < 2; round += 1) expect(listsOf(alpn, [0x0304]).alpn).toEqual(alpn);
  });
});

describe('a hello', () => {
  it('is parsed from any two segments', () => {
    const bytes = inRecords(clientHello({ serverName: 'a.test' }), 100);
    for (const [head] of everySplit(bytes)) {
      const first = parseClientHello(head);
      const progress = first.kind === 'more' ? first.progress : expect.fail(`${first.kind} at byte ${head.length}`);
      expect(parseClientHello(bytes, progress)).toMatchObject({ kind: 'hello', serverName: 'a.test' });
    }
  });

  it.each([7, 1000, 1460])('of 60 KB is parsed from segments of %i bytes', (step) => {
    const bytes = inRecords(clientHello({ serverName: 'big.test', padToBytes: 60_000 }));
    expect(outcome(bytes, step)).toMatchObject({ kind: 'hello', serverName: 'big.test', length: bytes.length });
  });

  it('of the longest kind that TLS allows is parsed', () => {
    const bytes = inRecords(longestHello(), FULL_RECORD);
    expect(outcome(bytes, 1460)).toMatchObject({ kind: 'hello', serverName: 'a.test', length: bytes.length });
  });

  it('of the shortest and of the longest size is waited for', () => {
    for (const header of [Buffer.of(1, 0, 0, 41), Buffer.of(1, 0x02, 0x01, 0x44)]) {
      expect(parseClientHello(inRecords(header)).kind).toBe('more');
    }
  });

  it.each([0x0300, 0x0301, 0x0303, 0x0304, 0x03ff])('is parsed from records of version %i', (version) => {
    const bytes = record(22, clientHello({ serverName: 'a.test' }), version);
    expect(parseClientHello(bytes)).toMatchObject({ kind: 'hello', serverName: 'a.test' });
  });

  it('is parsed from a view into a larger buffer', () => {
    const bytes = inRecords(clientHello({ serverName: 'within.example.com', alpn: ['a-long-protocol-name'] }));
    const around = new Uint8Array(bytes.length + 20);
    around.set(bytes, 10);
    const expected = { serverName: 'within.example.com', alpn: ['a-long-protocol-name'] };
    expect(parseClientHello(around.subarray(10, 10 + bytes.length))).toMatchObject(expected);
  });

  it('is parsed with an invalid progress', () => {
    const bytes = inRecords(clientHello({ serverName: 'a.test' }), 17);
    for (const foreign of [null, 5, 'x', { offset: 1e9, gathered: 1e9, header: 1e9 }]) {
      expect(parseClientHello(bytes, foreign)).toMatchObject({ kind: 'hello', serverName: 'a.test' });
    }
  });

  it('is not modified, nor is its progress', () => {
    const bytes = inRecords(clientHello({ serverName: 'A.TEST' }), 17);
    const copy = bytes.slice();
    const first = parseClientHello(bytes.subarray(0, 100));
    const progress = first.kind === 'more' ? first.progress : undefined;
    expect(parseClientHello(bytes, progress)).toStrictEqual(parseClientHello(bytes, progress));
    expect(bytes).toStrictEqual(copy);
  });
});

describe('no bytes at all', () => {
  it('request more', () => {
    expect(parseClientHello(new Uint8Array(0)).kind).toBe('more');
  });
});

const PLAIN = clientHello({ serverName: 'a.test' });
const NOTHING = new Uint8Array(0);

const REFUSED: readonly (readonly [what: string, bytes: Uint8Array, reason: RejectReason])[] = [
  ['HTTP', Buffer.from('GET / HTTP/1.1\r\n'), 'not_tls'],
  ['an SSH banner', Buffer.from('SSH-2.0-OpenSSH_9.6\r\n'), 'not_tls'],
  ['a PROXY header', Buffer.from('PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n'), 'not_tls'],
  ['zeros', new Uint8Array(64), 'not_tls'],
  ['a TLS alert', record(21, Buffer.of(1, 0)), 'not_tls'],
  ['application data', record(23, new Uint8Array(50)), 'not_tls'],
  ['DTLS', Buffer.of(22, 0xfe, 0xfd, 0, 0), 'not_tls'],
  ['a version of another major', Buffer.of(22, 4), 'not_tls'],
  ['bytes with the top bit set', Buffer.of(0xff, 0xff, 0xff), 'not_tls'],
  ['nearly SSL 2.0, of an impossible major', Buffer.of(0x80, 0x2e, 1, 7), 'not_tls'],
  ['nearly SSL 2.0, of an impossible minor', Buffer.of(0x80, 0x2e, 1, 0, 3), 'not_tls'],
  ['SSL 2.0', sslv2(0, 2), 'sslv2'],
  ['SSL 2.0 that offers TLS 1.0', sslv2(3, 1), 'sslv2'],
  ['an empty record', record(22, NOTHING), 'record_length'],
  [
    'an empty record in the middle',
    Buffer.concat([record(22, PLAIN.subarray(0, 50)), record(22, NOTHING)]),
    'record_length',
  ],
  ['a record of 2^14 + 1 bytes', Buffer.of(22, 3, 1, 0x40, 1), 'record_length'],
  [
    'an alert in the middle',
    Buffer.concat([record(22, PLAIN.subarray(0, 50)), record(21, Buffer.of(2, 40))]),
    'record_type',
  ],
  [
    'a ChangeCipherSpec in the middle',
    Buffer.concat([record(22, PLAIN.subarray(0, 2)), record(20, Buffer.of(1))]),
    'record_type',
  ],
  [
    'another major in the middle',
    Buffer.concat([record(22, PLAIN.subarray(0, 50)), Buffer.of(22, 2)]),
    'record_version',
  ],
  ['a ServerHello', record(22, Buffer.of(2, 0, 0, 100)), 'not_client_hello'],
  ['a ServerHello of which one byte is there', Buffer.of(22, 3, 3, 0, 100, 2), 'not_client_hello'],
  ['a hello of 16 MB', record(22, Buffer.of(1, 0xff, 0xff, 0xff)), 'hello_length'],
  ['a hello of 16 MB in records of one byte', inRecords(Buffer.of(1, 0xff, 0xff, 0xff), 1), 'hello_length'],
  ['a hello of one byte more than TLS allows', record(22, Buffer.of(1, 0x02, 0x01, 0x45)), 'hello_length'],
  ['a hello of one byte less than its fields', record(22, Buffer.of(1, 0, 0, 40)), 'hello_length'],
  ['a hello of no bytes', record(22, Buffer.of(1, 0, 0, 0)), 'hello_length'],
  ['bytes behind the hello in its record', record(22, Buffer.concat([PLAIN, Buffer.of(20)])), 'trailing_handshake'],
  ['a version before SSL 3.0', inRecords(clientHello({ legacyVersion: 0x0002 })), 'malformed'],
  ['a session id of 33 bytes', inRecords(clientHello({ sessionIdBytes: 33 })), 'malformed'],
  ['no cipher', inRecords(clientHello({ cipherSuites: [] })), 'malformed'],
  ['half a cipher', changed(clientHello({ sessionIdBytes: 0 }), 4 + 2 + 32 + 1 + 1, 13), 'malformed'],
  ['no compression method', withoutCompression(), 'malformed'],
  ['fields beyond the end', changed(PLAIN, 4 + 2 + 32, 255), 'malformed'],
  ['extensions that end before the hello', lengthened(clientHello({ serverName: 'a.test' })), 'malformed'],
  ['half an extension', changedEnd(clientHello({ extensions: [{ type: 5, body: NOTHING }] }), 1), 'malformed'],
  ['one extension twice', inRecords(clientHello({ order: twice })), 'duplicate_extension'],
  [
    'one rare extension twice',
    extended({ type: 0x4469, body: NOTHING }, { type: 0x4469, body: NOTHING }),
    'duplicate_extension',
  ],
  ['an empty ALPN extension', extended({ type: 16, body: NOTHING }), 'malformed'],
  ['an empty list of ALPN names', inRecords(clientHello({ alpn: [] })), 'malformed'],
  ['an empty ALPN name', inRecords(clientHello({ alpn: ['h2', ''] })), 'malformed'],
  ['an ALPN name beyond its list', extended({ type: 16, body: Buffer.of(0, 3, 9, 1, 1) }), 'malformed'],
  ['bytes behind the ALPN list', extended({ type: 16, body: Buffer.of(0, 2, 1, 65, 0) }), 'malformed'],
  ['an empty list of versions', inRecords(clientHello({ versions: [] })), 'malformed'],
  [
    'half a version',
    inRecords(clientHello({ versions: 'absent', extensions: [{ type: 43, body: Buffer.of(3, 3, 4, 3) }] })),
    'malformed',
  ],
  ['an empty server name extension', extended({ type: 0, body: NOTHING }), 'malformed'],
  ['an empty list of names', inRecords(clientHello({ serverNames: [] })), 'malformed'],
  ['a list of names beyond its extension', extended({ type: 0, body: Buffer.of(0, 9, 0, 0, 1, 97) }), 'malformed'],
  ['bytes behind the list of names', extended({ type: 0, body: Buffer.of(0, 4, 0, 0, 1, 97, 0) }), 'malformed'],
  ['a name beyond its list', extended({ type: 0, body: Buffer.of(0, 4, 0, 0, 9, 97) }), 'malformed'],
  ['a type of name without a name', extended({ type: 0, body: Buffer.of(0, 5, 0, 0, 1, 97, 0) }), 'malformed'],
  ['two host names', inRecords(clientHello({ serverNames: [name('a.test'), name('b.test')] })), 'server_name_repeated'],
  [
    'the same host name twice',
    inRecords(clientHello({ serverNames: [name('a.test'), name('a.test')] })),
    'server_name_repeated',
  ],
];

describe('is rejected with the reason', () => {
  it.each(REFUSED)('%s', (_what, bytes, reason) => {
    expect(parseClientHello(bytes)).toMatchObject({ kind: 'reject', reason });
    expect(outcome(bytes, 1)).toMatchObject({ kind: 'reject', reason });
  });

  it.each(REFUSED)('%s, whatever follows', (_what, bytes, reason) => {
    const followed = Buffer.concat([bytes, PLAIN, PLAIN]);
    expect(parseClientHello(followed)).toMatchObject({ kind: 'reject', reason });
  });
});

describe('a rejection', () => {
  it('reports what was expected and what was found', () => {
    for (const [what, bytes] of REFUSED) {
      const verdict = parseClientHello(bytes);
      expect(verdict.kind === 'reject' && verdict.detail, what).toMatch(/^expected .+, found .+[^.]$/);
    }
  });

  it('of another protocol comes with the first byte that rules TLS out', () => {
    expect(parseClientHello(Buffer.from('G'))).toMatchObject({ reason: 'not_tls' });
    expect(parseClientHello(Buffer.of(22)).kind).toBe('more');
    expect(parseClientHello(Buffer.of(22, 2))).toMatchObject({ reason: 'not_tls' });
    expect(parseClientHello(Buffer.of(0x80, 0x2e)).kind).toBe('more');
    expect(parseClientHello(Buffer.of(0x80, 0x2e, 2))).toMatchObject({ reason: 'not_tls' });
  });

  it('of an impossible length comes with the handshake header', () => {
    const header = record(22, Buffer.of(1, 0xff, 0xff, 0xff, 0, 0, 0, 0));
    const kinds = [...arriving(header, 1)].map(({ kind }) => kind);
    expect(kinds).toStrictEqual([...Array<string>(8).fill('more'), 'reject']);
  });
});

function sslv2(major: number, minor: number): Uint8Array {
  return Buffer.of(0x80, 0x2e, 1, major, minor, 0, 0x15, 0, 0, 0, 0x10);
}

function name(text: string): { readonly type: number; readonly name: string } {
  return { type: 0, name: text };
}

function extended(...extensions: readonly Extension[]): Uint8Array {
  return inRecords(clientHello({ extensions }));
}

function twice(extensions: readonly Extension[]): readonly Extension[] {
  return [...extensions, ...extensions.slice(0, 1)];
}

function changed(message: Uint8Array, at: number, byte: number): Uint8Array {
  const copy = message.slice();
  copy[at] = byte;
  return inRecords(copy);
}

function changedEnd(message: Uint8Array, byte: number): Uint8Array {
  return changed(message, message.length - 1, byte);
}

/** With one byte more in the message than the fields contain. */
function lengthened(message: Uint8Array): Uint8Array {
  const copy = Buffer.concat([message, Buffer.of(0)]);
  copy.writeUIntBE(copy.length - 4, 1, 3);
  return inRecords(copy);
}

function withoutCompression(): Uint8Array {
  const message = clientHello({ sessionIdBytes: 0, cipherSuites: [0x1301, 0x1302], extensions: 'none' });
  // Its last two bytes are the number of compression methods and the only method.
  return changed(message, message.length - 2, 0);
}

/** A hello of 130 KB: the cipher suites and the extensions are each at their maximum size. */
function longestHello(): Uint8Array {
  const cipherSuites = Array.from({ length: 32_767 }, (_, index) => index);
  const padded = { type: 21, body: new Uint8Array(65_000) };
  return clientHello({ serverName: 'a.test', cipherSuites, extensions: [padded] });
}
