import { describe, expect, it } from 'vitest';
import { decodeAddress, encodeAddress } from '../src/socket-address.ts';

function bytesOf(host: string, port: number): Uint8Array {
  const encoded = encodeAddress({ host, port });
  if (typeof encoded === 'string') throw new Error(encoded);
  return encoded.bytes;
}

describe('socket addresses', () => {
  it.each([
    ['192.0.2.1', 443, '0200 01bb c0000201 0000000000000000'],
    ['::1', 8443, '0a00 20fb 00000000 00000000000000000000000000000001 00000000'],
    ['2001:db8::a:b', 1, '0a00 0001 00000000 20010db80000000000000000000a000b 00000000'],
    ['::ffff:192.0.2.1', 1, '0a00 0001 00000000 00000000000000000000ffffc0000201 00000000'],
    ['fe80::1%3', 1, '0a00 0001 00000000 fe800000000000000000000000000001 03000000'],
    ['::', 0, '0a00 0000 00000000 00000000000000000000000000000000 00000000'],
    ['unix:/run/a.sock', 0, '0100 2f72756e2f612e736f636b 00'],
  ])("%s port %i has the kernel's layout", (host, port, hex) => {
    expect(Buffer.from(bytesOf(host, port)).toString('hex')).toBe(hex.replaceAll(' ', ''));
  });

  it.each([100_721, -30_351, 65_536, 1.5, Number.NaN])('the port %d is rejected, not truncated to 16 bits', (port) => {
    expect(encodeAddress({ host: '192.0.2.1', port })).toBe(`expected a port from 0 to 65535, found ${port}`);
  });

  it.each([
    ['192.0.2.1', 443],
    ['::1', 65_535],
    ['2001:db8::a:b', 1],
    ['1:2:3:4:5:6:7:8', 80],
    ['fe80::1%3', 80],
    ['unix:/run/a.sock', 0],
  ])('%s port %i survives a round trip', (host, port) => {
    const bytes = bytesOf(host, port);
    expect(decodeAddress(bytes, bytes.length)).toEqual({ host, port });
  });

  it('shows an IPv4 client of a dual-stack listener as IPv4', () => {
    const bytes = bytesOf('::ffff:192.0.2.1', 80);
    expect(decodeAddress(bytes, bytes.length)).toEqual({ host: '192.0.2.1', port: 80 });
  });

  it('has no address for a unix socket without a name', () => {
    expect(decodeAddress(Uint8Array.of(1, 0), 2)).toBeUndefined();
  });

  it.each([
    ['example.com', 'expected an IP address or unix:/path, found example.com'],
    ['fe80::1%nowhere', 'expected a network interface, found nowhere in fe80::1%nowhere'],
    [`unix:/${'x'.repeat(107)}`, 'expected a unix path of at most 107 bytes, found 108'],
  ])('%s is rejected with a reason', (host, sentence) => {
    expect(encodeAddress({ host, port: 1 })).toBe(sentence);
  });
});
