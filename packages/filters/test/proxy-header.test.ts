import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32c } from '../src/crc32c.ts';
import { parseProxyHeader } from '../src/proxy-header.ts';
import { v1, v2 } from './headers.ts';

const CLIENT = { host: '192.0.2.1', port: 56_324 };
const SERVER = { host: '198.51.100.1', port: 443 };
const CLIENT6 = { host: '2001:db8::1', port: 56_324 };
const SERVER6 = { host: '2001:db8::2', port: 443 };

describe('a header of version 1', () => {
  it.each([
    ['IPv4', `TCP4 192.0.2.1 198.51.100.1 56324 443`, { source: CLIENT, destination: SERVER }],
    ['IPv6', `TCP6 2001:db8::1 2001:db8::2 56324 443`, { source: CLIENT6, destination: SERVER6 }],
    [
      'IPv6 written at length',
      `TCP6 2001:0db8:0000:0000:0000:0000:0000:0001 2001:DB8::2 56324 443`,
      { source: CLIENT6, destination: SERVER6 },
    ],
    ['IPv4 in IPv6', `TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.1 56324 443`, { source: CLIENT, destination: SERVER }],
    ['an unknown client', 'UNKNOWN', {}],
    ['an unknown client with addresses', 'UNKNOWN ffff:f:f ffff:f 65535 65535', {}],
  ])('contains %s', (_what, line, ends) => {
    const bytes = v1(line);
    const header = { version: 1, command: 'proxy', tlvs: [], ...ends };
    expect(parseProxyHeader(Buffer.concat([bytes, Buffer.from('more')]))).toEqual({
      kind: 'header',
      header,
      length: bytes.length,
    });
  });

  it.each([
    ['no family', ''],
    ['another family', 'UDP4 192.0.2.1 198.51.100.1 1 2'],
    ['an address of the other family', 'TCP4 2001:db8::1 198.51.100.1 1 2'],
    ['a name for an address', 'TCP4 localhost 198.51.100.1 1 2'],
    ['an address with a zone', 'TCP6 fe80::1%eth0 2001:db8::2 1 2'],
    ['a port above 65535', 'TCP4 192.0.2.1 198.51.100.1 65536 2'],
    ['a port with a leading zero', 'TCP4 192.0.2.1 198.51.100.1 01 2'],
    ['a negative port', 'TCP4 192.0.2.1 198.51.100.1 -1 2'],
    ['two spaces', 'TCP4  192.0.2.1 198.51.100.1 1 2'],
    ['too little', 'TCP4 192.0.2.1 198.51.100.1 1'],
    ['too much', 'TCP4 192.0.2.1 198.51.100.1 1 2 3'],
    ['a line without an end', 'TCP4 '.padEnd(120, '1')],
  ])('with %s is malformed', (_what, line) => {
    expect(parseProxyHeader(v1(line))).toMatchObject({ kind: 'malformed' });
  });

  it('may have 107 bytes', () => {
    const line = `UNKNOWN ${'f'.repeat(39)} ${'f'.repeat(39)} 65535 65535`;
    expect(v1(line)).toHaveLength(107);
    expect(parseProxyHeader(v1(line))).toMatchObject({ kind: 'header', length: 107 });
  });
});

describe('a header of version 2', () => {
  it('contains the client, and further values', () => {
    const bytes = v2({ source: CLIENT, destination: SERVER, tlvs: [[0x02, Buffer.from('db.example')]] });
    expect(parseProxyHeader(Buffer.concat([bytes, Buffer.from([0x16])]))).toMatchObject({
      kind: 'header',
      length: bytes.length,
      header: { version: 2, command: 'proxy', source: CLIENT, destination: SERVER, tlvs: [{ type: 0x02 }] },
    });
  });

  it('contains an IPv6 client', () => {
    const result = parseProxyHeader(v2({ source: CLIENT6, destination: SERVER6 }));
    expect(result).toMatchObject({ header: { source: CLIENT6, destination: SERVER6 } });
  });

  it.each([
    ['LOCAL', v2({ command: 0x20, source: CLIENT, destination: SERVER }), { command: 'local' }],
    ['LOCAL of a family that does not exist', v2({ command: 0x20, family: 0x99 }), { command: 'local' }],
    ['an unspecified family', v2({ family: 0x00 }), { command: 'proxy' }],
    ['a unix socket', v2({ family: 0x31, body: Buffer.alloc(216) }), { command: 'proxy' }],
    ['a datagram', v2({ family: 0x12, source: CLIENT, destination: SERVER }), { command: 'proxy' }],
  ])('of %s contains no client', (_what, bytes, header) => {
    const result = parseProxyHeader(bytes);
    expect(result).toMatchObject({ kind: 'header', header });
    expect(result.kind === 'header' && result.header.source).toBeUndefined();
  });

  it('is validated by its checksum, which is not kept', () => {
    const bytes = v2({ source: CLIENT, destination: SERVER, checksum: true, tlvs: [[0x04, Buffer.alloc(3)]] });
    expect(parseProxyHeader(bytes)).toMatchObject({ kind: 'header', header: { tlvs: [] } });
    const changed = bytes.with(17, 0xff);
    expect(parseProxyHeader(changed)).toMatchObject({
      kind: 'malformed',
      reason: expect.stringContaining('expected the checksum'),
    });
  });

  it.each([
    ['version 1 in it', v2({ command: 0x11 })],
    ['an unknown command', v2({ command: 0x22 })],
    ['an unknown family', v2({ family: 0x41 })],
    ['an unknown protocol', v2({ family: 0x13 })],
    ['too few bytes for its addresses', v2({ family: 0x21, body: Buffer.alloc(35) })],
    ['a value that is cut off', v2({ source: CLIENT, destination: SERVER, body: Buffer.from([0x02, 0, 9, 1]) })],
    ['half of a value header', v2({ source: CLIENT, destination: SERVER, body: Buffer.from([0x02, 0]) })],
    ['a checksum of three bytes', v2({ source: CLIENT, destination: SERVER, tlvs: [[0x03, Buffer.alloc(3)]] })],
  ])('with %s is malformed', (_what, bytes) => {
    expect(parseProxyHeader(bytes)).toMatchObject({ kind: 'malformed' });
  });

  it('may have the largest length that it can represent', () => {
    const bytes = v2({ source: CLIENT, destination: SERVER, tlvs: [[0xea, Buffer.alloc(65_535 - 15)]] });
    expect(bytes).toHaveLength(65_551);
    expect(parseProxyHeader(bytes)).toMatchObject({ kind: 'header', length: 65_551 });
  });
});

describe('bytes that are not a header', () => {
  it.each([
    ['TLS', '160301'],
    ['HTTP', '474554'],
    ['a proxy request', '50524f58592f'],
    ['nothing like it', '0d0a0d0b'],
  ])('are recognised by where they differ: %s', (_what, hex) => {
    expect(parseProxyHeader(Buffer.from(hex, 'hex'))).toEqual({ kind: 'none' });
  });
});

const port = fc.integer({ min: 0, max: 65_535 });
const end = fc.oneof(
  fc.record({ host: fc.ipV4(), port }),
  fc.record({
    host: fc
      .tuple(port, port, port)
      .map((groups) => `2001:db8::${groups.map((one) => (one | 1).toString(16)).join(':')}`),
    port,
  }),
);

describe('whatever the bytes', () => {
  it('never throws, and requests more than it has only', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(0, 6, 12, 16), (bytes, kept) => {
        const start = kept === 6 ? v1('').subarray(0, 6) : v2({}).subarray(0, kept);
        const all = Buffer.concat([start, bytes]);
        const result = parseProxyHeader(all);
        if (result.kind === 'more') expect(result.atLeast).toBeGreaterThan(all.length);
        if (result.kind === 'header') expect(result.length).toBeLessThanOrEqual(all.length);
      }),
      { numRuns: 2_000 },
    );
  });

  it('parses what was written, and requests more for every prefix of it', () => {
    fc.assert(
      fc.property(end, port, fc.uint8Array({ maxLength: 40 }), fc.boolean(), (source, other, value, checksum) => {
        const destination = { ...source, port: other };
        const bytes = v2({ source, destination, tlvs: [[0xe0, Buffer.from(value)]], checksum });
        const result = parseProxyHeader(bytes);
        expect(result).toMatchObject({ kind: 'header', length: bytes.length, header: { source, destination } });
        for (let length = 1; length < bytes.length; length += 1) {
          const part = parseProxyHeader(bytes.subarray(0, length));
          expect(part.kind).toBe('more');
          if (part.kind === 'more') expect(part.atLeast).toBeLessThanOrEqual(bytes.length);
        }
      }),
      { numRuns: 200 },
    );
  });
});

it('CRC-32C is that of the standard', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3_06_92_83);
  // RFC 3720, appendix B.4: 32 bytes of zeros.
  expect(crc32c(new Uint8Array(32))).toBe(0x8a_91_36_aa);
});
