import { once } from 'node:events';
import { createServer, connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { connect as tlsConnect, createSecureContext, TLSSocket } from 'node:tls';
import type { SecureVersion } from 'node:tls';
import { parseClientHello } from '@meshgate/sni';
import { certificateAuthority } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { followTrace } from '../src/handshake-trace.ts';

const authority = certificateAuthority('root');
const leaf = authority.issue({ dnsNames: ['db.test'] });

const cases: readonly [claim: string, version: SecureVersion, groups: string][] = [
  ['of TLS 1.3', 'TLSv1.3', 'X25519'],
  ['of TLS 1.2', 'TLSv1.2', 'X25519'],
  ['of TLS 1.3 with a second ClientHello, since the server asks for another group', 'TLSv1.3', 'P-256'],
];

describe('the trace of a handshake', () => {
  it.each(cases)(
    '%s is the same at both ends, and for an observer of the ClientHello',
    async (_claim, version, groups) => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      const accepted = once(server, 'connection') as Promise<[Socket]>;
      const raw = connect((server.address() as AddressInfo).port, '127.0.0.1');
      const client = tlsConnect({ socket: raw, ca: authority.certificate, servername: 'db.test', maxVersion: version });
      const clientTrace = followTrace(client);
      const [socket] = await accepted;
      const [head] = (await once(socket, 'data')) as [Buffer];
      socket.pause();
      socket.unshift(head);
      const secureContext = createSecureContext({ cert: leaf.chain, key: leaf.privateKey, ecdhCurve: groups });
      const tls = new TLSSocket(socket, { isServer: true, secureContext });
      const serverTrace = followTrace(tls);
      await Promise.all([once(client, 'secureConnect'), once(tls, 'secure')]);
      const seen = parseClientHello(head);
      expect(seen).toMatchObject({ kind: 'hello', trace: clientTrace() });
      expect(serverTrace()).toBe(clientTrace());
      client.destroy();
      tls.destroy();
      server.close();
    },
  );
});
