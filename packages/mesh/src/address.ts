import type { Endpoint } from '@meshgate/core';
import type { Instance } from './catalog.ts';

/** From where an instance is dialled: inside its datacenter and partition, or across their border. */
export type Reach = 'lan' | 'wan';

/**
 * The address at which an instance is dialled, as Consul chooses it.
 *
 * Across the border: the service's `wan` address, the service's own, the node's `wan` address, the node's own; the first that is
 * set. Inside: the service's own, else the node's: a `lan` tag is never looked at. The `wan` tag may bring a port of its own.
 *
 * Anything may be registered as an address. What is neither an IP address nor a host name is never dialled: `unix:/run/docker.sock` would
 * lead clients to a socket of the gateway's own machine.
 *
 * @returns `undefined` when none of these is set, or it cannot be dialled
 */
export function dialAddress(instance: Instance, reach: Reach): Endpoint | undefined {
  const tagged = reach === 'wan' ? instance.taggedAddresses['wan'] : undefined;
  const host = withoutBrackets(tagged?.address || instance.address || nodeAddress(instance, reach));
  const port = (tagged?.address && tagged.port) || instance.port;
  const isPort = Number.isInteger(port) && port >= 1 && port <= MAX_PORT;
  return isPort && isHost(host) ? { host, port } : undefined;
}

/** An IPv6 address, perhaps with a zone; or an IPv4 address or a host name, which nobody has to tell apart. */
function isHost(host: string): boolean {
  return /^(?=(.*:){2})[\da-f:.]+(%[\w.-]+)?$|^[\w.-]+$/i.test(host) && host.length <= MAX_HOST;
}

/** An IPv6 address as the system takes it. Consul registers what is written, brackets included. */
export function withoutBrackets(host: string): string {
  return /^\[[\da-f:.%]+\]$/i.test(host) ? host.slice(1, -1) : host;
}

const MAX_PORT = 65_535;
// RFC 1035, section 2.3.4.
const MAX_HOST = 253;

function nodeAddress({ nodeTaggedAddresses, nodeAddress: own }: Instance, reach: Reach): string {
  return (reach === 'wan' && nodeTaggedAddresses['wan']) || own;
}
