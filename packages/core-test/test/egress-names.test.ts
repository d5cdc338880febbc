// Egress with names from real name servers: the answer of a name server alone does not allow an address.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEFAULT_LIMITS, nodeTransport } from '@meshgate/core';
import type { ConnectContext, Route } from '@meshgate/core';
import { AddressBook, balancedConnector, egressConnector, Outliers, systemNames } from '@meshgate/core/parts';
import { nameServer, peerListener, recorder, sampleAccepted, sampleHello } from '@meshgate/testkit';
import type { Zone } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';

/** Egress for names below `example.com` to a port of this machine, with a name server that serves `zone`. */
async function egress(zone: Zone, port: number, allowAddresses: readonly string[] = []) {
  const folder = await mkdtemp(join(tmpdir(), 'meshgate-egress-'));
  const server = await nameServer(zone);
  const files = {
    hostsFile: join(folder, 'hosts'),
    nsswitch: join(folder, 'nsswitch'),
    resolvConf: join(folder, 'resolv'),
  };
  await writeFile(files.hostsFile, '');
  await writeFile(files.nsswitch, 'hosts: files dns');
  await writeFile(files.resolvConf, `search example.com\nnameserver ${server.server}\n`);
  const events = recorder();
  const options = {
    outliers: new Outliers(events),
    observer: events,
    limits: DEFAULT_LIMITS,
    keepAlive: { idleMs: 60_000 },
  };
  const addresses = new AddressBook(events, systemNames({ ...files, platform: 'linux' }));
  const connector = egressConnector(balancedConnector({ ...options, addresses }), { ...options, addresses });
  const route: Route = { name: 'out', serverNames: ['*.example.com'], backends: [], egress: { port, allowAddresses } };
  const transport = nodeTransport();
  const context = (serverName: string): ConnectContext => ({
    connection: sampleAccepted(),
    hello: sampleHello(serverName),
    signal: new AbortController().signal,
    abandoned: undefined,
    attempts: 0,
    dial: (_backend, address, dialOptions) => transport.dial(address, dialOptions),
  });
  return {
    server,
    events,
    connect: (serverName: string) => connector.connect(route, context(serverName)),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

describe('egress by a name server', () => {
  it('does not follow canonical names to an address of a local network', async () => {
    await using listener = await peerListener();
    const zone: Zone = {
      'x.example.com': { A: { addresses: ['127.0.0.1'], via: ['cdn.example.net', 'edge.evil.net', 'localhost'] } },
      'y.example.com': {
        A: { addresses: ['169.254.169.254'], via: ['metadata.evil.net'] },
        AAAA: { addresses: ['fd00:ec2::254'] },
      },
    };
    await using out = await egress(zone, listener.address.port);
    for (const name of ['x.example.com', 'y.example.com'])
      await expect(out.connect(name)).rejects.toMatchObject({ code: 'REFUSED_BY_POLICY' });
    expect(out.server.queries).toContain('A x.example.com');
  });

  it('follows canonical names to an address that the route allows', async () => {
    await using listener = await peerListener();
    const zone: Zone = { 'x.example.com': { A: { addresses: ['127.0.0.1'], via: ['cdn.example.net'] } } };
    await using out = await egress(zone, listener.address.port, ['127.0.0.1']);
    const upstream = await out.connect('x.example.com');
    expect(upstream.address).toEqual(listener.address);
    upstream.connection.destroy();
  });

  it('is refused when the name is rebound to an address of a local network', async () => {
    await using listener = await peerListener();
    const rebound = (address: string): Zone => ({ 'r.example.com': { A: { addresses: [address], ttl: 1 } } });
    await using out = await egress(rebound('127.0.0.1'), listener.address.port, ['127.0.0.1']);
    const outcome = (): Promise<unknown> =>
      out.connect('r.example.com').then(
        ({ connection }) => connection.destroy(),
        (reason: unknown) => Reflect.get(Object(reason), 'code'),
      );
    expect(await outcome()).toBeUndefined();
    out.server.serve(rebound('127.0.0.2'));
    await expect.poll(outcome, { timeout: 5_000 }).toBe('REFUSED_BY_POLICY');
  });
});
