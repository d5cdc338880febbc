import { isIPv6, SocketAddress } from 'node:net';
import { networkInterfaces } from 'node:os';
import { unixPath } from './endpoint.ts';
import type { Endpoint } from './endpoint.ts';
import { socketFileAt } from './node-listening.ts';

/**
 * Whether two addresses cannot be listened on at once: they are one, or one of them takes all addresses of the machine. `::` takes those
 * of IPv4 as well (ipv6(7), IPV6_V6ONLY). Port 0 clashes with none. Pure.
 */
export function overlap(one: Endpoint, other: Endpoint): boolean {
  const [a, b] = [plainHost(one.host), plainHost(other.host)];
  if (a.startsWith('unix:') || b.startsWith('unix:')) return a === b;
  if (one.port !== other.port || one.port === 0) return false;
  return a === b || takes(a, b) || takes(b, a);
}

/**
 * Whether a dial to `to` ends at a listener that is bound to `bound`, on this machine.
 *
 * @param isLocal whether an address is one of this machine; those of the interfaces and loopback when absent
 */
export function leadsTo(to: Endpoint, bound: Endpoint, isLocal: (host: string) => boolean = isLocalAddress): boolean {
  // A unix socket has the port 0, which nothing is bound to. First, since it is what rules most dials out.
  if (to.port !== bound.port) return false;
  const [target, own] = [plainHost(to.host), plainHost(bound.host)];
  if (target.startsWith('unix:') || own.startsWith('unix:')) return target === own || isOneFile(to, bound);
  // To dial "any address" is to dial this machine (ip(7)): loopback of the same family, and either family by `::`.
  if (target === '0.0.0.0') return own === '0.0.0.0' || own === '::' || own.startsWith('127.');
  if (target === '::') return own === '::' || own === '::1' || own === '0.0.0.0' || own.startsWith('127.');
  if (target === own) return true;
  return takes(own, target) && isLocal(target);
}

/**
 * Whether a dial to `to` comes back to a listener that is bound to `bound`: by any address of this machine, or by one of `advertised`, at which
 * others reach it.
 */
export function leadsBack(to: Endpoint, bound: Endpoint, advertised: readonly Endpoint[] = []): boolean {
  return leadsTo(to, bound) || advertised.some((one) => isOneAddress(one, to));
}

/** Whether two addresses are one, however they are written. Pure. */
function isOneAddress(one: Endpoint, other: Endpoint): boolean {
  return one.port === other.port && plainHost(one.host) === plainHost(other.host);
}

/**
 * A host as the system knows it: without brackets, IPv6 in its shortest form (RFC 5952), an IPv4 address in it as such (RFC 4291, section
 * 2.5.5.2), and `localhost` as IPv4's.
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

/** Whether two unix sockets are one, by whatever paths: through links, or with `..` in them. */
function isOneFile(one: Endpoint, other: Endpoint): boolean {
  const [a, b] = [unixPath(one), unixPath(other)];
  if (a === undefined || b === undefined) return false;
  const file = socketFileAt(a);
  return file !== undefined && file === socketFileAt(b);
}

/** Whether a listener on `wildcard` takes what comes to `host`. */
function takes(wildcard: string, host: string): boolean {
  return wildcard === '::' || (wildcard === '0.0.0.0' && !isIPv6(host));
}

// Addresses come and go with interfaces; to ask for them takes a tenth of a millisecond.
const REMEMBERED_MS = 5_000;

let known: { readonly hosts: ReadonlySet<string>; readonly until: number } | undefined;

/** Whether `host` is an address of this machine, as of five seconds ago at most. A zone does not matter. */
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
