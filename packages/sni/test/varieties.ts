import { clientHello, X25519, X25519_MLKEM768 } from '@meshgate/testkit';
import type { ClientHelloOptions, Extension } from '@meshgate/testkit';

/** Expected fields of a hello; the others are the defaults of `clientHello`. */
interface Expected {
  readonly serverName?: string;
  readonly alpn?: readonly string[];
  readonly supportedVersions?: readonly number[];
  readonly ech?: boolean;
  readonly earlyData?: boolean;
}

/** A kind of hello that clients send, or might send. */
export interface Variety {
  readonly name: string;
  readonly message: Uint8Array;
  readonly expected: Expected;
}

const NAME = 'www.example.com';

/** Every kind of hello that must be parsed, as a handshake message. */
export const VARIETIES: readonly Variety[] = [
  variety('a plain one', {}),
  variety('one with ALPN', { alpn: ['h2', 'http/1.1'] }, { alpn: ['h2', 'http/1.1'] }),
  variety('one with GREASE everywhere', { grease: true, alpn: ['\x0a\x0a', 'h2', 'zz'] }, { alpn: ['h2'] }),
  variety('a post-quantum one', { keyShares: [X25519_MLKEM768, X25519] }),
  variety('a post-quantum one with the name behind the key shares', {
    keyShares: [X25519_MLKEM768, X25519],
    order: (extensions) => extensions.toReversed(),
  }),
  variety('one padded to 512 bytes', { padToBytes: 512 }),
  variety('one without a session id', { sessionIdBytes: 0 }),
  variety('one with one cipher', { cipherSuites: [0x1301] }),
  variety('one with a trailing dot in the name', { serverName: 'www.example.com.' }),
  variety('one with capitals in the name', { serverName: 'WWW.Example.COM' }),
  variety('one with an underscore', { serverName: 'my_web.svc' }, { serverName: 'my_web.svc' }),
  variety('one with names of unknown types round the host name', {
    serverNames: [
      { type: 1, name: 'other' },
      { type: 0, name: NAME },
      { type: 255, name: '' },
    ],
  }),
  nameless('one with names of unknown types only', { serverNames: [{ type: 7, name: 'x' }] }),
  nameless('one without a name', {}),
  nameless('one without extensions', { extensions: 'none' }, { supportedVersions: [0x0303] }),
  nameless('one with an empty block of extensions', { order: () => [] }, { supportedVersions: [0x0303] }),
  nameless('one of SSL 3.0', { legacyVersion: 0x0300, extensions: 'none' }, { supportedVersions: [0x0300] }),
  variety('one of TLS 1.1', { legacyVersion: 0x0302, versions: 'absent' }, { supportedVersions: [0x0302] }),
  variety(
    'one that claims TLS 1.3 the wrong way',
    { legacyVersion: 0x0304, versions: 'absent' },
    { supportedVersions: [0x0303] },
  ),
  variety('one for TLS 1.3 only', { versions: [0x0304] }, { supportedVersions: [0x0304] }),
  variety('one with outer ECH', { ech: 'outer' }, { ech: true }),
  variety('one with inner ECH', { ech: 'inner' }, { ech: false }),
  variety('one with early data', { earlyData: true }, { earlyData: true }),
  variety('one that resumes a session', { preSharedKey: true }),
  variety('one with 500 unknown extensions', { extensions: unknownExtensions(500) }),
];

function variety(name: string, options: ClientHelloOptions, expected: Expected = {}): Variety {
  return { name, message: clientHello({ serverName: NAME, ...options }), expected: { serverName: NAME, ...expected } };
}

function nameless(name: string, options: ClientHelloOptions, expected: Expected = {}): Variety {
  return { name, message: clientHello(options), expected };
}

function unknownExtensions(count: number): readonly Extension[] {
  return Array.from({ length: count }, (_, index) => ({ type: 0x2000 + index, body: new Uint8Array(index % 3) }));
}
