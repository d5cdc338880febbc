import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:https';
import { createServer as createNetServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { certificateAuthority } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { openAgent } from '../src/index.ts';
import type { AgentOptions } from '../src/index.ts';

const signal = new AbortController().signal;

describe('an agent over TLS', () => {
  const authority = certificateAuthority('agents');
  const server = authority.issue({ dnsNames: ['server.dc1.consul'] });
  const client = authority.issue({ commonName: 'gateway' });
  const trusted = { ca: authority.certificate, tlsServerName: 'server.dc1.consul' };
  const shown = { cert: client.chain, key: client.privateKey };

  it.each<readonly [what: string, options: AgentOptions, expected: string | RegExp]>([
    ['with authority, name and client certificate answers', { ...trusted, ...shown }, 'gateway'],
    ['under another name is not trusted', { ca: authority.certificate, ...shown }, /altnames/i],
    ['of an unknown authority is not trusted', { tlsServerName: 'server.dc1.consul', ...shown }, /certificate/],
    [
      'says that a client certificate may be missing',
      trusted,
      /: the agent may require a client certificate \(certFile, keyFile\)$/,
    ],
  ])('%s', async (_what, options, expected) => {
    const https = createServer({
      cert: server.chain,
      key: server.privateKey,
      ca: authority.certificate,
      requestCert: true,
    });
    https.on('request', (incoming, outgoing) => {
      const socket = incoming.socket as TLSSocket;
      outgoing.end(JSON.stringify(socket.getPeerCertificate().subject.CN));
    });
    https.listen(0, '127.0.0.1');
    await once(https, 'listening');
    const agent = openAgent({ address: `https://127.0.0.1:${(https.address() as AddressInfo).port}`, ...options }, 1);
    const response = agent.request({ path: 'x' }, signal).then(({ text }) => JSON.parse(text) as unknown);
    if (typeof expected === 'string') expect(await response).toBe(expected);
    else await expect(response).rejects.toThrow(expected);
    await agent.close();
    https.closeAllConnections();
    https.close();
  });
});

describe('an agent with TLS, queried without', () => {
  it.each([
    ['as Go does', 'HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n'],
    [
      'as nginx does',
      'HTTP/1.1 400 Bad Request\r\n\r\n<title>400 The plain HTTP request was sent to HTTPS port</title>',
    ],
  ])('is reported to respond with %s', async (_how, response) => {
    const server = createNetServer((socket) => void socket.once('data', () => socket.end(response)));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const agent = openAgent({ address: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }, 1);
    await expect(agent.request({ path: 'x' }, signal)).rejects.toThrow(/: try https:\/\/$/);
    await agent.close();
    server.close();
  });
});

describe('an agent', () => {
  it('is reached over a unix socket', async () => {
    const path = join(mkdtempSync(join(tmpdir(), 'meshgate-agent-')), 'consul.sock');
    const http = createHttpServer((_incoming, outgoing) => void outgoing.end('"here"')).listen(path);
    await once(http, 'listening');
    const agent = openAgent({ address: `unix://${path}` }, 1);
    expect((await agent.request({ path: 'x' }, signal)).text).toBe('"here"');
    await agent.close();
    http.close();
  });

  it('sends the token, and namespace and partition only where they are set', async () => {
    const queried: unknown[] = [];
    const http = createHttpServer((incoming, outgoing) => {
      queried.push([incoming.url, incoming.headers['x-consul-token']]);
      outgoing.end('1');
    }).listen(0, '127.0.0.1');
    await once(http, 'listening');
    const address = `127.0.0.1:${(http.address() as AddressInfo).port}`;
    for (const options of [{}, { token: 'secret', namespace: 'shop', partition: 'eu' }]) {
      const agent = openAgent({ address, ...options }, 1);
      await agent.request({ path: 'x', query: { filter: 'a == "b c"' } }, signal);
      await agent.close();
    }
    expect(queried).toEqual([
      ['/v1/x?filter=a%20%3D%3D%20%22b%20c%22', undefined],
      ['/v1/x?ns=shop&partition=eu&filter=a%20%3D%3D%20%22b%20c%22', 'secret'],
    ]);
    http.close();
  });

  it('behind a proxy is queried below a path, with user and password, which no message contains', async () => {
    const queried: unknown[] = [];
    const http = createHttpServer((incoming, outgoing) => {
      queried.push([incoming.url, incoming.headers.authorization]);
      outgoing.end('1');
    }).listen(0, '127.0.0.1');
    await once(http, 'listening');
    const { port } = http.address() as AddressInfo;
    const byAddress = openAgent({ address: `http://u:p%40ss@127.0.0.1:${port}/consul/` }, 1);
    await byAddress.request({ path: 'x' }, signal);
    const bySetting = openAgent({ address: `127.0.0.1:${port}`, httpAuth: 'u:p' }, 1);
    await bySetting.request({ path: 'x' }, signal);
    expect(queried).toEqual([
      ['/consul/v1/x', `Basic ${Buffer.from('u:p@ss').toString('base64')}`],
      ['/v1/x', `Basic ${Buffer.from('u:p').toString('base64')}`],
    ]);
    http.closeAllConnections();
    http.close();
    await once(http, 'close');
    const failure: unknown = await byAddress.request({ path: 'x' }, signal).catch((reason: unknown) => reason);
    expect((failure as Error).message).toMatch(
      /^Consul agent at http:\/\/127\.0\.0\.1:\d+\/consul\/: \/v1\/x: .*ECONNREFUSED/,
    );
    await Promise.all([byAddress.close(), bySetting.close()]);
  });

  it('with an unreadable token reports that', async () => {
    const agent = openAgent({ address: '127.0.0.1:1', tokenFile: '/nonexistent/token' }, 1);
    await expect(agent.request({ path: 'x' }, signal)).rejects.toThrow(
      /^the ACL token cannot be read from \/nonexistent\/token: ENOENT/,
    );
    await agent.close();
  });

  it.each([
    ['https://fc00::2:8501', 'an IPv6 address needs brackets, https://[fc00::2]:8501'],
    ['http://127.0.0.1:8500/?x=1', 'which must not have a query'],
  ])('is not opened at %s, with a hint', (address, hint) => {
    expect(() => openAgent({ address }, 1)).toThrow(hint);
  });

  it.each([
    'ftp://someone:secret@127.0.0.1',
    'http://someone:secret@fc00::2:8501',
    'someone:secret@fc00::2:8501',
    'http://127.0.0.1:8500/?token=secret',
    'http://127.0.0.1:8500/#secret',
    'http://someone:secret@127.0.0.1:85000000',
  ])('is not opened at %s, and the secret in it is not shown', (address) => {
    const error = failureOf(() => openAgent({ address }, 1));
    expect(error).toContain('expected an address such as');
    expect(error).not.toContain('secret');
  });

  it.each(['ftp://127.0.0.1', 'http://', ''])('is not opened at %j', (address) => {
    expect(() => openAgent({ address }, 1)).toThrow('expected an address such as');
  });
});

function failureOf(open: () => unknown): string {
  try {
    open();
  } catch (reason) {
    return String(reason);
  }
  throw new Error('expected a failure, found none');
}
