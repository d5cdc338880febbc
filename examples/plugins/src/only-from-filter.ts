import { BlockList, isIPv6 } from 'node:net';
import { ConfigProblems, definePlugin, ProxyError } from '@meshgate/core';
import type { ConnectionFilter } from '@meshgate/core';

/** Accepts clients of one network; any other is closed with `REFUSED_BY_POLICY`, before a byte of it is read. */
export default definePlugin({
  name: 'only-from',
  parse: () => undefined,
  setup: (host) => host.offerFilter('only-from', (settings) => onlyFrom(networkIn(settings))),
});

function onlyFrom(allowed: BlockList): ConnectionFilter {
  return {
    name: 'only-from',
    async filter({ connection: { remote } }) {
      if (allowed.check(remote.host, isIPv6(remote.host) ? 'ipv6' : 'ipv4')) return undefined;
      throw new ProxyError('REFUSED_BY_POLICY', `${remote.host} is outside of the network`);
    },
  };
}

function networkIn(settings: unknown): BlockList {
  const [address = '', bits] = String(Reflect.get(Object(settings), 'network')).split('/');
  const allowed = new BlockList();
  try {
    allowed.addSubnet(address, Number(bits), isIPv6(address) ? 'ipv6' : 'ipv4');
  } catch {
    throw new ConfigProblems([{ path: ['network'], message: 'expected a network such as 10.0.0.0/8' }]);
  }
  return allowed;
}
