import type { Endpoint } from '@meshgate/core';
import type { Instance } from './catalog.ts';

/** The network from which an instance is dialled: its own datacenter and partition (`lan`), or any other (`wan`). */
export type Reach = 'lan' | 'wan';

/**
 * Returns the address at which to dial an instance, by the rules of Consul.
 *
 * From outside its datacenter, the service's `wan` address, or its own address when it has no `wan` tag; where that is
 * empty, the node's `wan` address, else the node's own address. Inside: the service's own address, else the node's; a
 * `lan` tag is never used. The `wan` tag may have its own port.
 *
 * Consul accepts any string as an address. Only IP addresses and host names are dialled: `unix:/run/docker.sock` would
 * connect clients to a socket of the gateway's own host.
 *
 * @returns `undefined` when no address is set, or when it cannot be dialled
 */
export function dialAddress(instance: Instance, reach: Reach): Endpoint | undefined {
  const tagged = reach === 'wan' ? instance.taggedAddresses['wan'] : undefined;
  const host = withoutBrackets((tagged ?? instance).address || nodeAddress(instance, reach));
  const port = tagged?.port || instance.port;
  const isPort = Number.isInteger(port) && port >= 1 && port <= MAX_PORT;
  return isPort && isHost(host) ? { host, port } : undefined;
}

/** Accepts an IPv6 address with an optional zone, an IPv4 address, or a host name; the last two share one pattern. */
function isHost(host: string): boolean {
  return /^(?=(.*:){2})[\da-f:.]+(%[\w.-]+)?$|^[\w.-]+$/i.test(host) && host.length <= MAX_HOST;
}

/** Removes the brackets of an IPv6 address: Consul stores what was registered, brackets included. */
export function withoutBrackets(host: string): string {
  return /^\[[\da-f:.%]+\]$/i.test(host) ? host.slice(1, -1) : host;
}

const MAX_PORT = 65_535;
// RFC 1035, section 2.3.4.
const MAX_HOST = 253;

function nodeAddress({ nodeTaggedAddresses, nodeAddress: own }: Instance, reach: Reach): string {
  return (reach === 'wan' && nodeTaggedAddresses['wan']) || own;
}
