import { isIPv6, SocketAddress } from 'node:net';
import { networkInterfaces } from 'node:os';
import { normalize } from 'node:path';
import { unixPath } from './endpoint.ts';
import type { Endpoint } from './endpoint.ts';
import { socketFileAt } from './node-listening.ts';

/**
 * Whether two listeners cannot have these addresses at once: they are equal, or one of them is a wildcard that includes
 * the other. `::` includes IPv4 (ipv6(7), IPV6_V6ONLY). Port 0 never overlaps. Pure.
 */
export function overlap(one: Endpoint, other: Endpoint): boolean {
  const [a, b] = [plainHost(one.host), plainHost(other.host)];
  if (a.startsWith('unix:') || b.startsWith('unix:')) return normalize(a) === normalize(b);
  if (one.port !== other.port || one.port === 0) return false;
  return a === b || takes(a, b) || takes(b, a);
}

/**
 * Whether a dial to `to` reaches a listener on this machine that is bound to `bound`.
 *
 * @param isLocal whether an address belongs to this machine; compares with the interfaces and loopback when absent
 */
export function leadsTo(to: Endpoint, bound: Endpoint, isLocal: (host: string) => boolean = isLocalAddress): boolean {
  // First, since the port excludes most dials. A unix socket has port 0, which no TCP listener is bound to.
  if (to.port !== bound.port) return false;
  const [target, own] = [plainHost(to.host), plainHost(bound.host)];
  if (target.startsWith('unix:') || own.startsWith('unix:')) return target === own || isOneFile(to, bound);
  // Dialling the wildcard address reaches this machine (ip(7)): loopback of the same family, and either family through
  // `::`.
  if (target === '0.0.0.0') return own === '0.0.0.0' || own === '::' || own.startsWith('127.');
  if (target === '::') return own === '::' || own === '::1' || own === '0.0.0.0' || own.startsWith('127.');
  if (target === own) return true;
  return takes(own, target) && isLocal(target);
}

/** Whether a dial to `to` reaches a listener bound to `bound`, through a local address or one of `advertised`. */
export function leadsBack(to: Endpoint, bound: Endpoint, advertised: readonly Endpoint[] = []): boolean {
  return leadsTo(to, bound) || advertised.some((one) => isOneAddress(one, to));
}

/** Whether two endpoints are the same, in any notation. Pure. */
function isOneAddress(one: Endpoint, other: Endpoint): boolean {
  return one.port === other.port && plainHost(one.host) === plainHost(other.host);
}

/**
 * Normalises a host: without brackets, IPv6 in its shortest form (RFC 5952), IPv4-mapped addresses as IPv4 (RFC 4291,
 * section 2.5.5.2), and `localhost` as 127.0.0.1.
 */
export function plainHost(host: string): string {
  if (host.startsWith('unix:')) return host;
  const bare = host.toLowerCase().replace(/^\[(.*)\]$/, '$1');
  if (bare === 'localhost') return '127.0.0.1';
  if (!bare.includes(':')) return bare;
  const [address = bare, zone] = bare.split('%');
  if (!isIPv6(address)) return bare;
  const shortest = new SocketAddress({ address, family: 'ipv6' }).address;
  const plain = shortest.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/, '');
  return zone === undefined ? plain : `${plain}%${zone}`;
}

/** Whether `host` is a wildcard address, in any notation: `0.0.0.0`, `::`, `0:0::0`, `::ffff:0.0.0.0` … */
export function isAnyAddress(host: string): boolean {
  // Most hosts are rejected by their first character.
  return (host.startsWith('0') || host.startsWith(':')) && ANY_ADDRESSES.has(plainHost(host));
}

const ANY_ADDRESSES: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

/** Whether two unix socket paths lead to the same file: through links, or with `..` in them. */
function isOneFile(one: Endpoint, other: Endpoint): boolean {
  const [a, b] = [unixPath(one), unixPath(other)];
  if (a === undefined || b === undefined) return false;
  const file = socketFileAt(a);
  return file !== undefined && file === socketFileAt(b);
}

/** Whether a listener on `wildcard` accepts connections to `host`. */
function takes(wildcard: string, host: string): boolean {
  return wildcard === '::' || (wildcard === '0.0.0.0' && !isIPv6(host));
}

// Addresses come and go with interfaces; listing them takes 0.1 ms.
const REMEMBERED_MS = 5_000;

let known: { readonly hosts: ReadonlySet<string>; readonly until: number } | undefined;

/** Whether `host` is an address of this machine, as of at most five seconds ago. Ignores the zone. */
export function isLocalAddress(host: string): boolean {
  const [plain = host] = plainHost(host).split('%');
  if (plain.startsWith('127.') || plain === '::1') return true;
  const now = performance.now();
  if (known === undefined || now >= known.until) {
    const hosts = Object.values(networkInterfaces()).flatMap((addresses = []) =>
      addresses.map(({ address }) => address),
    );
    known = { hosts: new Set(hosts), until: now + REMEMBERED_MS };
  }
  return known.hosts.has(plain);
}
