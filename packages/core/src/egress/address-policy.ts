import { isIP } from 'node:net';
import { readAddress, WORDS } from '../pipeline/ip-address.ts';
import { isLocalAddress } from '../transport/own-addresses.ts';
import { addressSet } from '../pipeline/address-set.ts';
import type { AddressSet } from '../pipeline/address-set.ts';

/** A group of non-public addresses, with its description. */
interface Refused {
  readonly what: string;
  readonly addresses: AddressSet;
}

/** IPv4, from IANA's registry of special-purpose addresses (RFC 6890). */
const REFUSED_IPV4: readonly Refused[] = [
  { what: 'this network', addresses: addressSet(['0.0.0.0/8']) },
  { what: 'loopback', addresses: addressSet(['127.0.0.0/8']) },
  { what: 'private', addresses: addressSet(['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16']) },
  { what: 'shared by carrier-grade NAT', addresses: addressSet(['100.64.0.0/10']) },
  { what: 'link-local, where clouds serve metadata', addresses: addressSet(['169.254.0.0/16']) },
  { what: 'for documentation', addresses: addressSet(['192.0.2.0/24', '198.51.100.0/24', '203.0.113.0/24']) },
  { what: 'reserved', addresses: addressSet(['192.0.0.0/24', '192.88.99.0/24', '198.18.0.0/15', '240.0.0.0/4']) },
  { what: 'multicast', addresses: addressSet(['224.0.0.0/4']) },
  // A public address that serves certificates, extensions and their secrets to every machine on Azure.
  { what: 'the platform address of Azure, which serves metadata', addresses: addressSet(['168.63.129.16']) },
];

const GLOBAL_UNICAST = addressSet(['2000::/3']);

/** Global unicast addresses of IPv6 that are not public, or that embed an IPv4 address. */
const REFUSED_IPV6: readonly Refused[] = [
  { what: 'reserved for protocols, Teredo among them', addresses: addressSet(['2001::/23']) },
  { what: 'for documentation', addresses: addressSet(['2001:db8::/32', '3fff::/20']) },
  { what: '6to4, which embeds an IPv4 address', addresses: addressSet(['2002::/16']) },
];

/**
 * Returns the reason for refusing a dial to `host`, an IP address, on a route with `egress`, or `undefined`. Everything
 * not known to be public is refused: of IPv6 everything outside of 2000::/3, which includes loopback, unique local
 * (fd00:ec2::254), link-local, multicast, and the forms that embed IPv4 (::ffff:0:0/96, 64:ff9b::/96).
 *
 * @param allowed addresses that are exempt
 * @param isLocal whether an address belongs to this machine, whose services may trust it; compares with the interfaces
 * when absent
 */
export function refusedAddress(
  host: string,
  allowed: AddressSet | undefined,
  isLocal: (host: string) => boolean = isLocalAddress,
): string | undefined {
  const family = isIP(host);
  // A zone names an interface of this machine.
  if (family === 0 || host.includes('%')) return 'not an internet address';
  if (allowed?.has(host) === true) return refusedInside(host, allowed, isLocal);
  if (family === 6 && !GLOBAL_UNICAST.has(host)) return 'not a global unicast address';
  const refused = (family === 4 ? REFUSED_IPV4 : REFUSED_IPV6).find(({ addresses }) => addresses.has(host));
  return refused?.what ?? (isLocal(host) ? 'an address of this machine' : undefined);
}

/** Checks the IPv4 address embedded in an allowed IPv6 address: allowing a translator does not allow every target. */
function refusedInside(host: string, allowed: AddressSet, isLocal: (host: string) => boolean): string | undefined {
  const words = new Uint32Array(WORDS);
  if (!EMBEDS_IPV4.has(host) || readAddress(host, words) !== 6) return undefined;
  const [first = 0, second = 0, , last = 0] = words;
  const is6to4 = first >>> 16 === 0x20_02;
  const inside = is6to4 ? ((first << 16) | (second >>> 16)) >>> 0 : last;
  const address = [24, 16, 8, 0].map((shift) => (inside >>> shift) & 0xff).join('.');
  const what = refusedAddress(address, allowed, isLocal);
  return what === undefined ? undefined : `it embeds ${address}: ${what}`;
}

/**
 * Addresses that embed IPv4: at the end, in NAT64 with the well-known prefix (RFC 6052) or a local one (RFC 8215) and
 * in stateless translation (RFC 7915); behind the prefix, in 6to4 (RFC 3056).
 */
const EMBEDS_IPV4 = addressSet(['64:ff9b::/96', '64:ff9b:1::/48', '::ffff:0:0:0/96', '2002::/16']);
