import type { ProxyChoice } from '@meshgate/mesh';
import { standInAgent } from '@meshgate/testkit';
import { expect, it } from 'vitest';
import { consulProxySource } from '../src/sidecar/proxy-source.ts';
import { Watched } from './watched.ts';

const PROXY = {
  ID: 'web-1-sidecar-proxy',
  Kind: 'connect-proxy',
  Proxy: { DestinationServiceName: 'web', DestinationServiceID: 'web-1' },
};

it.each<readonly [choice: ProxyChoice, hint: string]>([
  [{ sidecarFor: 'Web-1' }, 'found proxies for web-1: did you mean "web-1"? Ids differ by case; waiting'],
  [
    { proxyId: 'WEB-1-sidecar-proxy' },
    'found web-1-sidecar-proxy: did you mean "web-1-sidecar-proxy"? Ids differ by case; waiting',
  ],
  [{ sidecarFor: 'shop' }, 'found proxies for web-1; waiting'],
])('a proxy that is requested by an id in another case is suggested: %j', async (choice, hint) => {
  await using agent = await standInAgent({ responses: { 'agent/services': { [PROXY.ID]: PROXY } } });
  await using views = new Watched(consulProxySource({ address: agent.address }, choice));
  const { message } = await views.failure('expected');
  expect(message).toContain(hint);
});
