import { firstOf } from '@meshgate/core/parts';
import type { Sniffer } from '@meshgate/core';
import { clientHello, inRecords } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { sniSniffer } from '../src/index.ts';

const OPTIONS = { serverName: 'A.Test', alpn: ['h2'], earlyData: true };
const HELLO = {
  protocol: 'tls',
  serverName: 'a.test',
  alpn: ['h2'],
  supportedVersions: [0x0304, 0x0303],
  ech: false,
  earlyData: true,
  trace: expect.any(Number) as number,
};

describe('the TLS sniffer', () => {
  it('reports the contents of the hello, and nothing else', () => {
    const head = inRecords(clientHello(OPTIONS));
    expect(sniSniffer().inspect(head)).toStrictEqual({ kind: 'hello', hello: HELLO, rejections: expect.anything() });
  });

  it('has an alert for a name without a route, and for no transient failure', () => {
    const verdict = sniSniffer().inspect(inRecords(clientHello(OPTIONS)));
    expect(verdict).toMatchObject({ kind: 'hello' });
    expect('rejections' in verdict && verdict.rejections).toEqual({
      NO_SERVER_NAME: Uint8Array.of(21, 3, 1, 0, 2, 2, 109),
      ROUTE_NOT_FOUND: Uint8Array.of(21, 3, 1, 0, 2, 2, 112),
    });
  });

  it('omits the name when there is none', () => {
    const { serverName: _serverName, ...nameless } = HELLO;
    const head = inRecords(clientHello({ alpn: ['h2'], earlyData: true }));
    expect(sniSniffer().inspect(head)).toMatchObject({ kind: 'hello', hello: nameless });
  });

  it('continues where its last verdict ended', () => {
    const head = inRecords(clientHello(OPTIONS), 17);
    const first = sniSniffer().inspect(head.subarray(0, 200));
    const progress = first.kind === 'more' ? first.progress : undefined;
    expect(progress).toBeDefined();
    expect(sniSniffer().inspect(head, progress)).toMatchObject({ kind: 'hello', hello: HELLO });
  });

  it.each(['G', 'S', '\0', '\x15', '\x16\x02', '\x80\x10\x04'])('passes on %j', (opening) => {
    expect(sniSniffer().inspect(Buffer.from(opening, 'latin1'))).toStrictEqual({ kind: 'pass' });
  });

  it('rejects SSL 2.0 and reports it', () => {
    const verdict = sniSniffer().inspect(Buffer.of(0x80, 0x2e, 1, 3, 1));
    expect(verdict).toStrictEqual({
      kind: 'reject',
      reason: expect.stringMatching(/^sslv2: expected a TLS record, found/),
    });
  });

  it('rejects a malformed hello with the reason', () => {
    const verdict = sniSniffer().inspect(inRecords(clientHello({ serverName: '10.0.0.1' })));
    expect(verdict).toStrictEqual({
      kind: 'reject',
      reason: expect.stringMatching(/^server_name_ip_address: expected/),
    });
  });

  it('leaves other protocols to another sniffer', () => {
    const http: Sniffer = { name: 'http', inspect: () => ({ kind: 'reject', reason: 'asked' }) };
    const both = firstOf([sniSniffer(), http]);
    expect(both.inspect(Buffer.from('GET'))).toStrictEqual({ kind: 'reject', reason: 'asked' });
    expect(both.inspect(Buffer.of(22)).kind).toBe('more');
  });
});
