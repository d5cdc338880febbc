import { once } from 'node:events';
import { connect as netConnect } from 'node:net';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { connect as tlsConnect } from 'node:tls';
import { certificateAuthority, rawClient, tcpBackend } from '@meshgate/testkit';
import type { Endpoint } from '@meshgate/core';
import type { Credentials } from '@meshgate/mesh';
import { describe, expect, it } from 'vitest';
import { PLAIN_TEXT } from '../src/permissive.ts';
import { credentialsOf, leafOf, targetOf, upstreamOf, viewOf } from './mesh.ts';
import type { ViewOptions } from './mesh.ts';
import { startSidecar, Observed } from './sidecar.ts';

const root = certificateAuthority('root');
const db = credentialsOf(leafOf(root, 'db'), root);
const DENIED = { intentions: [{ source: '*', destination: '*', action: 'deny' }] } as const;

/** Writes this many bytes at a time to `socket`, each write in its own turn of the event loop. */
function inPieces(size: number, socket: Socket): Duplex {
  const duplex = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      const next = (from: number): void => {
        if (from >= chunk.length) return done();
        socket.write(chunk.subarray(from, from + size), () => setImmediate(next, from + size));
      };
      next(0);
    },
    destroy: (error, done) => {
      socket.destroy();
      done(error);
    },
  });
  socket.on('data', (chunk) => duplex.push(chunk));
  socket.on('close', () => duplex.push(null));
  return duplex;
}

/** A sidecar of `web` whose upstream is at `at`, with restricted TLS options. */
async function webWith(at: Endpoint, tls: NonNullable<Credentials['tls']>) {
  const upstreams = [upstreamOf('db', [targetOf({ service: 'db', at: [at] })])];
  const credentials = { ...credentialsOf(leafOf(root, 'web'), root), tls };
  return startSidecar({ credentials, view: viewOf({ service: 'web', upstreams }) });
}

/** The sidecar of `db`, in front of an echo, which accepts callers without TLS. */
async function permissive(over: Partial<ViewOptions> = {}) {
  const application = await tcpBackend('db');
  const view = viewOf({ service: 'db', application: application.address, mutualTls: 'permissive', ...over });
  const views = new Observed('proxy', view);
  const sidecar = await startSidecar({ credentials: db, view: views });
  return {
    sidecar,
    application,
    views,
    async [Symbol.asyncDispose](): Promise<void> {
      await sidecar[Symbol.asyncDispose]();
      await application[Symbol.asyncDispose]();
    },
  };
}

describe('a permissive public listener', () => {
  it('passes plain text to the application, from its first byte on, and marks the connection', async () => {
    await using one = await permissive(DENIED);
    await using client = await rawClient(await one.sidecar.address());
    for (const word of ['h', 'ello']) await client.send(word);
    expect(String(await client.receive(5))).toBe('hello');
    client.end();
    const { closed } = await one.sidecar.events.until('connection.closed');
    expect(closed.error).toBeUndefined();
    expect(PLAIN_TEXT.of(closed.connection)).toBe(true);
  });

  it('terminates mutual TLS as always, and then checks intentions', async () => {
    await using one = await permissive();
    const upstreams = [upstreamOf('db', [targetOf({ service: 'db', at: [await one.sidecar.address()] })])];
    const view = viewOf({ service: 'web', upstreams });
    await using web = await startSidecar({ credentials: credentialsOf(leafOf(root, 'web'), root), view });
    await using client = await rawClient(await web.address('upstream:db'));
    await client.send('hello');
    expect(String(await client.receive(5))).toBe('hello');
    one.views.notify(
      viewOf({ service: 'db', application: one.application.address, mutualTls: 'permissive', ...DENIED }),
    );
    await one.sidecar.events.until('routes.replaced', () => one.sidecar.events.all('routes.replaced').length === 2);
    await using other = await rawClient(await web.address('upstream:db'));
    await other.closed;
    expect(await one.sidecar.endings('public')).toEqual(['DENIED']);
  });

  it.each([1, 5, 60])('recognises a ClientHello that arrives in pieces of %i bytes', async (size) => {
    await using one = await permissive();
    const { host, port } = await one.sidecar.address();
    const { chain: cert, privateKey: key } = leafOf(root, 'web');
    const socket = inPieces(size, netConnect({ host, port, noDelay: true }));
    const client = tlsConnect({ socket, cert, key, ca: root.certificate, checkServerIdentity: () => undefined });
    await once(client, 'secureConnect');
    client.write('hello');
    expect(String(((await once(client, 'data')) as [Buffer])[0])).toBe('hello');
    client.destroy();
  });

  it.each([
    ['TLS without a certificate', {}],
    ['TLS with a certificate of somebody else', leafOf(certificateAuthority('stranger'), 'web')],
  ])('refuses %s', async (_what, given) => {
    await using one = await permissive();
    const { host, port } = await one.sidecar.address();
    const leaf = 'chain' in given ? { cert: given.chain, key: given.privateKey } : {};
    const client = tlsConnect({ host, port, ...leaf, ca: root.certificate, checkServerIdentity: () => undefined });
    await once(client, 'error');
    expect(await one.sidecar.endings('public')).toEqual(['DOWNSTREAM_UNTRUSTED']);
    expect(one.application.accepted).toBe(0);
  });

  it('refuses a silent client at the deadline, since its protocol is unknown', async () => {
    const view = viewOf({ service: 'db', mutualTls: 'permissive' });
    await using one = await startSidecar({ credentials: db, view, limits: { helloTimeoutMs: 50 } });
    await using client = await rawClient(await one.address());
    await client.closed;
    expect(await one.endings('public')).toEqual(['SNIFF_TIMEOUT']);
  });

  it('treats a client that closes without a byte as a health check', async () => {
    await using one = await permissive();
    await using client = await rawClient(await one.sidecar.address());
    await one.sidecar.events.until('connection.accepted');
    client.end();
    expect(await one.sidecar.endings('public')).toEqual(['OK']);
    expect(one.application.accepted).toBe(0);
  });

  it('refuses plain text once it is strict again', async () => {
    await using one = await permissive();
    one.views.notify(viewOf({ service: 'db', application: one.application.address }));
    await one.sidecar.events.until('routes.replaced', () => one.sidecar.events.all('routes.replaced').length === 2);
    await using client = await rawClient(await one.sidecar.address());
    await client.send('hello');
    expect(await one.sidecar.endings('public')).toEqual(['DOWNSTREAM_UNTRUSTED']);
    expect(one.application.accepted).toBe(0);
  });
});

describe('TLS limits in the entry mesh', () => {
  const newest = { tls: { incoming: { minVersion: 'TLSv1_3' } } };

  it.each([
    ['TLSv1.2', 'DOWNSTREAM_UNTRUSTED'],
    ['TLSv1.3', 'OK'],
  ] as const)('apply to the public listener: a caller with %s ends with %s', async (maxVersion, ending) => {
    await using application = await tcpBackend('db');
    const view = viewOf({ service: 'db', application: application.address });
    await using one = await startSidecar({ credentials: { ...db, ...newest }, view });
    await using web = await webWith(await one.address(), { outgoing: { maxVersion: maxVersion.replace('.', '_') } });
    await using client = await rawClient(await web.address('upstream:db'));
    await client.send('hello');
    if (ending === 'OK') expect(String(await client.receive(5))).toBe('hello');
    client.end();
    expect(await one.endings('public')).toEqual([ending]);
  });
});
