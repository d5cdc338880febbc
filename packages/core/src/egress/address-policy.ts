import { BlockList, isIP } from 'node:net';
import { readAddress } from '../pipeline/ip-address.ts';

/** IPv4 that is not the public internet (IANA special-purpose registry, RFC 6890), and what it is. */
const REFUSED_IPV4: readonly (readonly [network: string, bits: number, what: string])[] = [
  ['0.0.0.0', 8, 'this network'],
  ['10.0.0.0', 8, 'private'],
  ['100.64.0.0', 10, 'shared by carrier-grade NAT'],
  ['127.0.0.0', 8, 'loopback'],
  ['169.254.0.0', 16, 'link-local, where clouds serve metadata'],
  ['172.16.0.0', 12, 'private'],
  ['192.0.0.0', 24, 'reserved for protocols'],
  ['192.0.2.0', 24, 'for documentation'],
  ['192.88.99.0', 24, 'a 6to4 relay'],
  ['192.168.0.0', 16, 'private'],
  ['198.18.0.0', 15, 'for benchmarks'],
  ['198.51.100.0', 24, 'for documentation'],
  ['203.0.113.0', 24, 'for documentation'],
  ['224.0.0.0', 4, 'multicast'],
  ['240.0.0.0', 4, 'reserved'],
];

/** Of the global unicast addresses of IPv6, those that are not the public internet or stand for an IPv4 address. */
const REFUSED_IPV6: readonly (readonly [network: string, bits: number, what: string])[] = [
  ['2001::', 23, 'reserved for protocols, Teredo among them'],
  ['2001:db8::', 32, 'for documentation'],
  ['2002::', 16, '6to4, which stands for an IPv4 address'],
  ['3fff::', 20, 'for documentation'],
];

/**
 * Why a connection to `host`, an IP address, must not leave by a route that leads to wherever a client asks; `undefined` when it may. What
 * is not known to be public is refused: of IPv6 everything outside of 2000::/3, and so loopback, unique local (fd00:ec2::254), link-local,
 * multicast, and the forms that stand for IPv4 (::ffff:0:0/96, 64:ff9b::/96).
 *
 * @param allowed networks that are let through all the same
 */
export function refusedAddress(host: string, allowed: BlockList | undefined): string | undefined {
  const family = isIP(host);
  // A zone names an interface of this machine.
  if (family === 0 || host.includes('%')) return 'no address of the internet';
  if (allowed?.check(host, family === 4 ? 'ipv4' : 'ipv6') === true) return undefined;
  return family === 4 ? whatOf(host, REFUSED_IPV4) : refusedIPv6(host);
}

function refusedIPv6(host: string): string | undefined {
  const [first = 0] = wordsOf(host);
  const isGlobalUnicast = first >>> 29 === 0b001;
  return isGlobalUnicast ? whatOf(host, REFUSED_IPV6) : 'no global unicast address';
}

function whatOf(
  host: string,
  networks: readonly (readonly [network: string, bits: number, what: string])[],
): string | undefined {
  const words = wordsOf(host);
  return networks.find(([network, bits]) => {
    const skipped = network.includes(':') ? 0 : 96;
    return hasPrefix(words, wordsOf(network), skipped + bits);
  })?.[2];
}

function wordsOf(host: string): Uint32Array {
  const words = new Uint32Array(4);
  readAddress(host, words);
  return words;
}

function hasPrefix(words: Uint32Array, network: Uint32Array, bits: number): boolean {
  return words.every((word, index) => {
    const own = Math.min(32, Math.max(0, bits - index * 32));
    const mask = own === 0 ? 0 : (0xff_ff_ff_ff << (32 - own)) >>> 0;
    return (word & mask) >>> 0 === ((network[index] ?? 0) & mask) >>> 0;
  });
}

/** Networks as `10.0.0.0/8`, or single addresses. @throws TypeError with the first that is none */
export function networksOf(texts: readonly string[]): BlockList {
  const list = new BlockList();
  for (const text of texts) {
    const [address = '', bits, ...more] = text.split('/');
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    const isWhole = more.length === 0 && (bits === undefined || /^\d{1,3}$/.test(bits));
    if (isIP(address) === 0 || !isWhole || Number(bits ?? 0) > (family === 'ipv4' ? 32 : 128))
      throw new TypeError(`expected an address or a network such as 10.0.0.0/8, found ${JSON.stringify(text)}`);
    if (bits === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(bits), family);
  }
  return list;
}
