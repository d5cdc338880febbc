import type { ProxyView } from '@meshgate/mesh';
import { standInAgent } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { consulAuthorizer, consulProxySource } from '../src/index.ts';
import { caller } from './caller.ts';
import { Watched } from './watched.ts';

const { signal } = new AbortController();
const intention = (SourceName: string, Action: string, SourcePeer = ''): Readonly<Record<string, unknown>> => ({
  SourceName,
  DestinationName: 'db',
  Action,
  ...(SourcePeer === '' ? {} : { SourcePeer }),
});

describe('a caller of a peer', () => {
  it.each([
    ['is let in by an intention that names its peer', [intention('web', 'allow', 'cloud')], 'Matched', true],
    ['is refused by one', [intention('*', 'allow', 'cloud'), intention('web', 'deny', 'cloud')], 'Matched', false],
    [
      'is not let in by one for the local service of its name',
      [intention('web', 'allow')],
      'Matched L4 intention',
      false,
    ],
    ['is let in by the default where there is no intention', [], 'Default behavior configured by ACLs', true],
  ])('%s', async (_claim, intentions, reason, allowed) => {
    const answers = { 'agent/connect/authorize': { Authorized: true, Reason: reason } };
    await using agent = await standInAgent({ mesh: { intentions }, answers });
    const authorizer = consulAuthorizer({ address: agent.address });
    const web = { ...caller('cloud.consul', 'web'), sourcePeer: 'cloud' };
    expect((await authorizer.authorize(web, { destination: 'db' }, signal)).allowed).toBe(allowed);
    await authorizer.stop(signal);
  });
});

it('an upstream of a peer is asked for at the peer, and has the name and the identity that it gives', async () => {
  const PTD = '1c053652-8512-4373-90cf-5a7f6263a994.consul';
  const id = 'web-sidecar-proxy';
  const upstream = { DestinationName: 'refunds', DestinationPeer: 'cloud', LocalBindPort: 9191 };
  const answers = {
    [`agent/service/${id}`]: {
      ID: id,
      Service: id,
      Kind: 'connect-proxy',
      Port: 20_000,
      Proxy: { DestinationServiceName: 'web', Mode: 'transparent', Upstreams: [upstream] },
    },
  };
  const refunds = {
    name: 'refunds-sidecar-proxy',
    kind: 'connect-proxy',
    destination: 'refunds',
    port: 8443,
    peer: 'cloud',
    wan: { address: '203.0.113.9', port: 443 },
    peerMeta: {
      SNI: [`refunds.default.default.here.external.${PTD}`],
      SpiffeID: [`spiffe://${PTD}/x`],
      Protocol: 'tcp',
    },
  };
  await using agent = await standInAgent({ mesh: { services: [refunds] }, answers });
  await using views = new Watched<ProxyView>(consulProxySource({ address: agent.address }, { proxyId: id }));
  const { upstreams, warnings } = await views.until(
    ({ upstreams: [first] }) => first?.kind === 'reachable' && first.targets[0]?.backends.length === 1,
  );
  expect(upstreams[0]).toMatchObject({
    targets: [
      {
        target: { serverName: refunds.peerMeta.SNI[0], identities: refunds.peerMeta.SpiffeID, peer: 'cloud' },
        backends: [{ address: { host: '203.0.113.9', port: 443 } }],
      },
    ],
  });
  expect(warnings).toContainEqual(expect.stringContaining('mode "transparent", which has no effect'));
});
