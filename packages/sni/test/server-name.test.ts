import { clientHello, inRecords } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { parseClientHello, parseServerName } from '../src/index.ts';
import type { ClientHelloVerdict, RejectReason } from '../src/index.ts';

const label = (bytes: number): string => 'a'.repeat(bytes);
const NAME_OF_253 = [label(63), label(63), label(63), label(61)].join('.');

describe('accepted as a server name is', () => {
  it.each([
    ['a.test', 'a.test'],
    ['localhost', 'localhost'],
    ['A.Test', 'a.test'],
    ['a.test.', 'a.test'],
    ['web.default.dc1.internal.11111111-2222-3333-4444-555555555555.consul', undefined],
    ['my_service.test', 'my_service.test'],
    ['_sip._tcp.test', '_sip._tcp.test'],
    ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
    ['-odd-.test', '-odd-.test'],
    ['1.2.3.4.test', '1.2.3.4.test'],
    ['0xf.0xg', '0xf.0xg'],
    ['1e5', '1e5'],
    [`${label(63)}.test`, undefined],
    [NAME_OF_253, undefined],
    [`${NAME_OF_253}.`, NAME_OF_253],
  ])('%s', (sent, expected = sent) => {
    expect(helloFor(sent)).toMatchObject({ kind: 'hello', serverName: expected });
    expect(parseServerName(sent)).toEqual({ kind: 'name', serverName: expected });
  });
});

const REFUSED: readonly (readonly [name: string, reason: RejectReason])[] = [
  ['', 'server_name_length'],
  [`${NAME_OF_253}a`, 'server_name_length'],
  [`${NAME_OF_253}a.`, 'server_name_length'],
  ['a'.repeat(20_000), 'server_name_length'],
  ['.', 'server_name_label'],
  ['..', 'server_name_label'],
  ['.a.test', 'server_name_label'],
  ['a..test', 'server_name_label'],
  ['a.test..', 'server_name_label'],
  [`${label(64)}.test`, 'server_name_label'],
  ['a.test\0', 'server_name_characters'],
  ['\0', 'server_name_characters'],
  ['a.test\0.evil.test', 'server_name_characters'],
  ['a.test\n', 'server_name_characters'],
  ['a b.test', 'server_name_characters'],
  ['a/b.test', 'server_name_characters'],
  ['a:443', 'server_name_characters'],
  ['*.test', 'server_name_characters'],
  ['user@a.test', 'server_name_characters'],
  ['b\xfccher.example', 'server_name_characters'],
  ['b\xc3\xbccher.example', 'server_name_characters'],
  ['\x1b[31mred.test', 'server_name_characters'],
  ['[::1]', 'server_name_characters'],
  ['127.0.0.1', 'server_name_ip_address'],
  ['127.0.0.1.', 'server_name_ip_address'],
  ['999.999.999.999', 'server_name_ip_address'],
  ['127.1', 'server_name_ip_address'],
  ['2130706433', 'server_name_ip_address'],
  ['0x7f.1', 'server_name_ip_address'],
  ['a.0x7F', 'server_name_ip_address'],
  ['::1', 'server_name_ip_address'],
  ['2001:db8::1', 'server_name_ip_address'],
  ['::ffff:127.0.0.1', 'server_name_ip_address'],
  ['fe80::1%eth0', 'server_name_ip_address'],
];

describe('rejected as a server name is', () => {
  it.each(REFUSED)('%j', (name, reason) => {
    expect(helloFor(name)).toMatchObject({ kind: 'reject', reason });
    expect(parseServerName(name)).toMatchObject({ kind: 'reject', reason });
  });

  it('every byte but letters, digits, hyphen, underscore and dot', () => {
    for (let byte = 0; byte < 256; byte++) {
      const verdict = helloFor(Buffer.of(0x61, byte, 0x61));
      const expected = /^[\w.-]$/.test(String.fromCharCode(byte)) ? 'hello' : 'reject';
      expect(verdict.kind, `byte ${byte}`).toBe(expected);
    }
  });
});

/** The rules as regular expressions: RFC 1123, 2.1, RFC 1035, 2.3.4, and no number as the last label. */
function isHostName(name: string): boolean {
  const labels = name.split('.');
  const last = labels.at(-1) ?? '';
  return (
    name.length <= 253 && labels.every((one) => /^[a-z0-9_-]{1,63}$/i.test(one)) && !/^(\d+|0x[\da-f]*)$/i.test(last)
  );
}

describe('any name', () => {
  it('has the same verdict in one pass as by one rule after the other', () => {
    const pieces = [
      'a',
      'Z',
      '0',
      '9',
      'x',
      '0x',
      '-',
      '_',
      '.',
      '..',
      ' ',
      '/',
      'test',
      label(62),
      label(63),
      label(64),
    ];
    let state = 7;
    const draw = (below: number): number => {
      state = (Math.imul(state, 48_271) >>> 0) % 2_147_483_647;
      return state % below;
    };
    for (let round = 0; round < 20_000; round += 1) {
      const name = Array.from({ length: 1 + draw(7) }, () => pieces[draw(pieces.length)]).join('');
      const bare = name.endsWith('.') ? name.slice(0, -1) : name;
      const verdict = parseServerName(name);
      expect(verdict.kind, JSON.stringify(name)).toBe(isHostName(bare) ? 'name' : 'reject');
      if (verdict.kind === 'name') expect(verdict.serverName).toBe(bare.toLowerCase());
    }
  });
});

describe('the detail of a rejected name', () => {
  it('reports which byte is invalid, and where', () => {
    expect(helloFor('a.test\0')).toMatchObject({ detail: expect.stringMatching(/found byte 0x00 at 6$/) });
  });

  it('quotes nothing from the client', () => {
    for (const [name] of REFUSED) {
      const verdict = helloFor(name);
      expect(verdict.kind === 'reject' && verdict.detail).toMatch(/^[ -~]{1,160}$/);
    }
  });
});

function helloFor(serverName: string | Uint8Array): ClientHelloVerdict {
  return parseClientHello(inRecords(clientHello({ serverName })));
}
