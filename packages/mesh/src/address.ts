import type { Endpoint } from '@meshgate/core';
import type { Instance } from './catalog.ts';

/** Where an instance is dialled from: inside its datacenter and partition, or from outside. */
export type Reach = 'lan' | 'wan';

/**
 * The address to dial an instance at, as Consul selects it.
 *
 * From outside: the service's `wan` address, the service's own, the node's `wan` address, the node's own; the first that is set.
 * Inside: the service's own, else the node's; a `lan` tag is never used. The `wan` tag may have its own port.
 *
 * Anything can be registered as an address. What is neither an IP address nor a host name is never dialled: `unix:/run/docker.sock`
 * would lead clients to a socket of the gateway's own host.
 *
 * @returns `undefined` when none is set, or it cannot be dialled
 */
export function dialAddress(instance: Instance, reach: Reach): Endpoint | undefined {
  const tagged = reach === 'wan' ? instance.taggedAddresses['wan'] : undefined;
  const host = withoutBrackets(tagged?.address || instance.address || nodeAddress(instance, reach));
  const port = (tagged?.address && tagged.port) || instance.port;
  const isPort = Number.isInteger(port) && port >= 1 && port <= MAX_PORT;
  return isPort && isHost(host) ? { host, port } : undefined;
}

/** An IPv6 address, perhaps with a zone; or an IPv4 address or a host name, which need not be told apart. */
function isHost(host: string): boolean {
  return /^(?=(.*:){2})[\da-f:.]+(%[\w.-]+)?$|^[\w.-]+$/i.test(host) && host.length <= MAX_HOST;
}

/** An IPv6 address in the system's notation. Consul registers it verbatim, brackets included. */
export function withoutBrackets(host: string): string {
  return /^\[[\da-f:.%]+\]$/i.test(host) ? host.slice(1, -1) : host;
}

const MAX_PORT = 65_535;
// RFC 1035, section 2.3.4.
const MAX_HOST = 253;

function nodeAddress({ nodeTaggedAddresses, nodeAddress: own }: Instance, reach: Reach): string {
  return (reach === 'wan' && nodeTaggedAddresses['wan']) || own;
}
