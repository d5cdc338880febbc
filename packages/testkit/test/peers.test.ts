import { describe, expect, it } from 'vitest';
import {
  certificateAuthority,
  peerListener,
  rawClient,
  refusingAddress,
  silentAddress,
  tcpBackend,
  tlsBackend,
  tlsClient,
  unixAddress,
} from '../src/index.ts';
import type { Conduct } from '../src/index.ts';

describe('a TLS backend', () => {
  it('responds with its name', async () => {
    await using backend = await tlsBackend('web.internal');
    await using client = await tlsClient(backend.address, 'web.internal');
    expect(await client.get()).toBe('web.internal');
    expect(client.serverCertificateName).toBe('web.internal');
    expect(backend.serverNames).toEqual(['web.internal']);
  });

  it('echoes, and finishes when the client has', async () => {
    await using backend = await tlsBackend('web.internal');
    await using client = await tlsClient(backend.address, 'web.internal', { ca: backend.ca });
    expect(await client.echo('hello')).toBe('hello');
    expect(await client.echo('GET it?')).toBe('GET it?');
    client.end();
    expect(await client.closed).toEqual({ kind: 'finished' });
    await backend.untilIdle();
    expect(backend.accepted).toBe(1);
  });

  it('is not trusted by a client with another authority', async () => {
    await using backend = await tlsBackend('web.internal');
    const { certificate } = certificateAuthority('somebody else');
    await expect(tlsClient(backend.address, 'web.internal', { ca: certificate })).rejects.toMatchObject({
      code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    });
  });

  it('negotiates ALPN and the version', async () => {
    await using backend = await tlsBackend('web.internal', { alpn: ['h2', 'http/1.1'], maxVersion: 'TLSv1.2' });
    await using client = await tlsClient(backend.address, 'web.internal', { alpn: ['http/1.1'] });
    expect(client).toMatchObject({ alpn: 'http/1.1', protocol: 'TLSv1.2', resumed: false });
  });

  it('requests a client certificate where configured', async () => {
    const clients = certificateAuthority('clients');
    await using backend = await tlsBackend('web.internal', { clientCa: clients.certificate, maxVersion: 'TLSv1.2' });
    await expect(tlsClient(backend.address, 'web.internal')).rejects.toThrow();
    const identity = clients.intermediate('below').issue({ uris: ['spiffe://test/ns/default/dc/dc1/svc/api'] });
    await using client = await tlsClient(backend.address, 'web.internal', { identity });
    expect(await client.echo('it is me')).toBe('it is me');
  });

  it('resets after the given number of bytes, not before', async () => {
    await using backend = await tlsBackend('web.internal', { conduct: { kind: 'reset', afterBytes: 5 } });
    await using client = await tlsClient(backend.address, 'web.internal');
    await client.send('hello');
    expect(await client.closed).toMatchObject({ kind: 'lost', error: { code: 'ECONNRESET' } });
  });

  it('that resets on accept makes the handshake fail', async () => {
    await using backend = await tlsBackend('web.internal', { conduct: { kind: 'reset', afterBytes: 0 } });
    await expect(tlsClient(backend.address, 'web.internal')).rejects.toMatchObject({ code: 'ECONNRESET' });
  });
});

const conducts: readonly { conduct: Conduct; sent: string; response: string }[] = [
  { conduct: { kind: 'echo' }, sent: 'hello', response: 'hello' },
  { conduct: { kind: 'sink' }, sent: 'hello', response: '' },
  { conduct: { kind: 'source', bytes: 200_000 }, sent: 'hello', response: '\0'.repeat(200_000) },
  { conduct: { kind: 'finish-first' }, sent: 'hello', response: '' },
  { conduct: { kind: 'answer-last' }, sent: 'hello', response: 'hello' },
];

describe.each(['tcp', 'unix', 'tls'] as const)('a backend over %s', (kind) => {
  it.each(conducts)('with the conduct $conduct.kind behaves as documented', async ({ conduct, sent, response }) => {
    await using unix = await unixAddress();
    await using backend =
      kind === 'tls'
        ? await tlsBackend('b', { conduct })
        : await tcpBackend('b', { conduct, ...(kind === 'unix' ? { at: unix.address } : {}) });
    const client =
      kind === 'tls'
        ? await tlsClient(backend.address, 'b', { halfOpen: true })
        : await rawClient(backend.address, { halfOpen: true });
    await client.send(sent);
    client.end();
    expect((await client.receiveAll()).toString()).toBe(response);
    expect(await client.closed).toEqual({ kind: 'finished' });
    await backend.untilIdle();
  });

  it('that hangs accepts and sends nothing', async () => {
    await using unix = await unixAddress();
    const options = { conduct: { kind: 'hang' }, ...(kind === 'unix' ? { at: unix.address } : {}) } as const;
    const backend = kind === 'tls' ? await tlsBackend('b', options) : await tcpBackend('b', options);
    const client = await rawClient(backend.address);
    await client.send('hello?');
    await backend.untilAccepted(1);
    expect(client.bytesReceived).toBe(0);
    await backend[Symbol.asyncDispose]();
    // The received data was never read, so the close is a reset, even on a unix socket.
    expect((await client.closed).kind).toBe('lost');
  });
});

describe('a raw client', () => {
  it('distinguishes an orderly end from a reset', async () => {
    await using listener = await peerListener();
    await using first = await rawClient(listener.address);
    (await listener.accept()).end();
    await using second = await rawClient(listener.address);
    (await listener.accept()).reset();
    expect(await first.closed).toEqual({ kind: 'finished' });
    expect(await second.closed).toMatchObject({ kind: 'lost', error: { code: 'ECONNRESET' } });
    await expect(second.finished).rejects.toMatchObject({ code: 'ECONNRESET' });
  });

  it('reports what it received when the stream ends early', async () => {
    await using listener = await peerListener();
    await using client = await rawClient(listener.address);
    const server = await listener.accept();
    await server.send('abc');
    server.end();
    await expect(client.receive(4)).rejects.toThrow('expected 4 bytes, found the end after 3: "abc"');
    expect((await client.receive(3)).toString()).toBe('abc');
  });

  it('sends pieces one after the other', async () => {
    await using listener = await peerListener();
    await using client = await rawClient(listener.address);
    const server = await listener.accept();
    await client.sendInPieces([Buffer.from('a'), Buffer.from('bc')]);
    expect((await server.receive(3)).toString()).toBe('abc');
  });

  it('that has closed reports that', async () => {
    await using listener = await peerListener();
    const client = await rawClient(listener.address);
    await client[Symbol.asyncDispose]();
    expect(await client.closed).toEqual({ kind: 'destroyed' });
    expect(await (await listener.accept()).closed).toEqual({ kind: 'finished' });
  });

  it('cannot connect to an address that refuses', async () => {
    await using nobody = await refusingAddress();
    await expect(rawClient(nobody.address)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await expect(rawClient(nobody.address)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('waits for an address that does not respond', async () => {
    await using silent = await silentAddress();
    const settled = rawClient(silent.address).then(
      () => 'connected',
      () => 'failed',
    );
    const waited = new Promise((resolve) => setTimeout(resolve, 300, 'waiting'));
    expect(await Promise.race([settled, waited])).toBe('waiting');
  });
});
