import { createServer } from 'node:http';
import { expect, it, vi } from 'vitest';
import { consulCredentials } from '../src/sidecar/credentials.ts';
import { onLoopback } from './loopback.ts';

const ROOTS = { TrustDomain: 'td.consul', Roots: [{ RootCert: 'root' }] };
const PROXY = {
  ID: 'web-proxy',
  Service: 'web-proxy',
  Kind: 'connect-proxy',
  Port: 1,
  Proxy: { DestinationServiceName: 'web' },
};

/** An agent that renews its leaf on request; all other queries block. */
async function agentWithLeaf() {
  let index = 1;
  let release: () => void = () => undefined;
  const server = createServer((incoming, outgoing) => {
    const url = new URL(incoming.url ?? '', 'http://agent');
    const respond = (body: unknown): void => {
      outgoing
        .writeHead(200, { 'X-Consul-Index': String(index), 'X-Consul-Contenthash': 'h' })
        .end(JSON.stringify(body));
    };
    const leaf = () => respond({ CertPEM: `leaf ${index}`, PrivateKeyPEM: 'key' });
    const isHeld = url.searchParams.has('index') || url.searchParams.has('hash');
    if (url.pathname.includes('/leaf/')) {
      if (isHeld) release = leaf;
      else leaf();
    } else if (!isHeld) respond(url.pathname.includes('/roots') ? ROOTS : PROXY);
  });
  const listening = await onLoopback(server);
  return { ...listening, isQueried: () => release.name === 'leaf', renew };

  function renew(): void {
    index += 1;
    release();
  }
}

it('credentials are yielded when they change, and at no other time', async () => {
  await using agent = await agentWithLeaf();
  const stop = new AbortController();
  const found: string[] = [];
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  try {
    const source = consulCredentials({ address: agent.address }, { proxyId: 'web-proxy' });
    const watching = (async () => {
      for await (const { certificate } of source.watch(stop.signal)) found.push(certificate);
    })().catch(() => undefined);
    while (found.length === 0 || !agent.isQueried()) await vi.advanceTimersByTimeAsync(50);
    await vi.advanceTimersByTimeAsync(25_000);
    expect(found).toEqual(['leaf 1']);
    agent.renew();
    while (found.length < 2) await vi.advanceTimersByTimeAsync(50);
    expect(found).toEqual(['leaf 1', 'leaf 2']);
    stop.abort();
    await watching;
  } finally {
    vi.useRealTimers();
  }
});
