// Health checks over real sockets and TLS.
import { createProxy } from '@meshgate/core';
import type { Endpoint, HealthCheck, Proxy, Route } from '@meshgate/core';
import { sniSniffer } from '@meshgate/sni';
import {
  certificateAuthority,
  peerListener,
  recorder,
  refusingAddress,
  tcpBackend,
  tlsBackend,
  tlsClient,
} from '@meshgate/testkit';
import type { Recorder } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';

const OFTEN: HealthCheck = { kind: 'tcp', intervalMs: 20, timeoutMs: 2_000, rise: 1, fall: 1 };

async function checking(
  route: Omit<Route, 'name' | 'serverNames'>,
): Promise<{ proxy: Proxy; events: Recorder } & AsyncDisposable> {
  const events = recorder();
  const proxy = createProxy({
    listen: { host: '127.0.0.1', port: 0 },
    sniffers: [sniSniffer()],
    routes: [{ name: 'api', serverNames: ['api.example.com'], ...route }],
    observers: [events],
  });
  await proxy.start();
  return { proxy, events, [Symbol.asyncDispose]: () => proxy.stop(AbortSignal.abort()) };
}

async function reached({ address }: Proxy): Promise<string> {
  await using client = await tlsClient(address, 'api.example.com');
  return client.serverCertificateName;
}

const at = ({ address }: { readonly address: Route['backends'][number]['address'] }): Route['backends'][number] => {
  return { address, weight: 1, healthy: true };
};

describe('a backend that is down by its checks', () => {
  it('is not dialled while another is up, and is used again when it is back', async () => {
    await using up = await tlsBackend('up.internal');
    const other = await tlsBackend('other.internal');
    await using all = await checking({ healthCheck: OFTEN, backends: [at(up), at(other)] });
    const isOther = ({ address }: { readonly address: Endpoint }): boolean => address.port === other.address.port;
    await all.events.until('backend.checked', isOther);
    await other[Symbol.asyncDispose]();
    await all.events.until('backend.down', isOther);
    for (let turn = 0; turn < 6; turn += 1) expect(await reached(all.proxy)).toBe('up.internal');
    expect(all.events.all('dial.failed')).toEqual([]);
    await using back = await tlsBackend('back.internal', { at: other.address });
    await all.events.until('backend.up', isOther);
    expect([await reached(all.proxy), await reached(all.proxy)]).toContain(back.name);
  });

  it('is dialled nevertheless when all are down', async () => {
    await using down = await refusingAddress();
    await using all = await checking({ healthCheck: OFTEN, backends: [at(down)] });
    await all.events.until('backend.down');
    await expect(tlsClient(all.proxy.address, 'api.example.com')).rejects.toThrow();
    expect((await all.events.until('connection.closed')).closed).toMatchObject({ error: { code: 'CONNECT_REFUSED' } });
  });

  it('is not dialled if the route refuses that', async () => {
    await using down = await refusingAddress();
    await using all = await checking({ healthCheck: { ...OFTEN, whenAllDown: 'refuse' }, backends: [at(down)] });
    await all.events.until('backend.down');
    await expect(tlsClient(all.proxy.address, 'api.example.com')).rejects.toThrow();
    expect((await all.events.until('connection.closed')).closed).toMatchObject({
      attempts: 0,
      error: { code: 'NO_BACKEND', message: expect.stringContaining('down by their health checks') as string },
    });
  });
});

describe('a check of kind tls', () => {
  const tls: HealthCheck = { ...OFTEN, kind: 'tls', serverName: 'api.example.com' };

  async function firstResult(address: Route['backends'][number]['address'], check: HealthCheck = tls): Promise<string> {
    await using all = await checking({ healthCheck: check, backends: [at({ address })] });
    const { passed } = await all.events.until('backend.checked');
    return passed ? 'passed' : (await all.events.until('backend.down')).reason;
  }

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('passes when a server responds with %s', async (version) => {
    await using server = await tlsBackend('api.example.com', { minVersion: version, maxVersion: version });
    expect(await firstResult(server.address)).toBe('passed');
  });

  it('passes without a server name, and if a client certificate is required', async () => {
    const { certificate: ca } = certificateAuthority('clients');
    await using server = await tlsBackend('api.example.com', { clientCa: ca });
    expect(await firstResult(server.address, { ...OFTEN, kind: 'tls' })).toBe('passed');
  });

  it('fails for another protocol, or without a response in time', async () => {
    await using echo = await tcpBackend('echo');
    expect(await firstResult(echo.address)).toBe('expected a ServerHello, found message 1');
    await using silent = await tcpBackend('silent', { conduct: { kind: 'hang' } });
    expect(await firstResult(silent.address, { ...tls, timeoutMs: 50 })).toBe('no ServerHello within 50 ms');
    await using resetting = await tcpBackend('resetting', { conduct: { kind: 'reset', afterBytes: 0 } });
    expect(await firstResult(resetting.address)).toMatch(/ECONNRESET|closed/);
    const warning = Buffer.from([21, 3, 3, 0, 2, 1, 112]);
    await using endless = await peerListener();
    const result = firstResult(endless.address);
    const peer = await endless.accept();
    peer.send(Buffer.concat(Array.from({ length: 10_000 }, () => warning))).catch(() => undefined);
    expect(await result).toMatch(/^no ServerHello in \d+ bytes$/);
  });
});
