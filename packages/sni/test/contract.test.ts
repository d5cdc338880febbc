import { clientHello, describeSniffer, inRecords } from '@meshgate/testkit';
import type { SnifferSample } from '@meshgate/testkit';
import { sniSniffer } from '../src/index.ts';
import { VARIETIES } from './varieties.ts';

const HELLOS = VARIETIES.map(({ name, message, expected }): SnifferSample => {
  return { name, bytes: inRecords(message), expected: { kind: 'hello', hello: { protocol: 'tls', ...expected } } };
});
const IN_PIECES: SnifferSample = {
  name: 'one in records of 17 bytes',
  bytes: inRecords(clientHello({ serverName: 'a.test' }), 17),
  expected: { kind: 'hello', hello: { serverName: 'a.test' } },
};
const MISNAMED: SnifferSample = {
  name: 'one with an IP address for a name',
  bytes: inRecords(clientHello({ serverName: '10.0.0.1' })),
  expected: { kind: 'reject' },
};
// Not TLS, up to the byte that shows it.
const OTHERS: readonly SnifferSample[] = [
  { name: 'SSL 2.0', bytes: Uint8Array.of(0x80, 0x2e, 1, 3, 1), expected: { kind: 'reject' } },
  { name: 'HTTP', bytes: Buffer.from('G'), expected: { kind: 'pass' } },
  { name: 'a TLS alert', bytes: Uint8Array.of(21), expected: { kind: 'pass' } },
];

describeSniffer('the TLS sniffer', sniSniffer(), [...HELLOS, IN_PIECES, MISNAMED, ...OTHERS]);
