import { BlockList, isIP } from 'node:net';

/** Addresses, given one by one or in blocks. */
export interface AddressList {
  /** Whether `host` is in it: an IP address, or `unix:` and a path. */
  has(host: string): boolean;
}

/**
 * Reads addresses and blocks: `10.0.0.1`, `10.0.0.0/8`, `2001:db8::/32`, and `unix` for whoever connects to a unix socket.
 *
 * @throws Error that says which is none
 */
export function addressList(entries: readonly string[]): AddressList {
  const blocks = new BlockList();
  for (const entry of entries) if (entry !== UNIX) add(blocks, entry);
  const hasUnix = entries.includes(UNIX);
  return { has };

  function has(host: string): boolean {
    const family = isIP(host);
    if (family === 0) return hasUnix && host.startsWith('unix:');
    return blocks.check(host, family === 4 ? 'ipv4' : 'ipv6');
  }
}

const UNIX = 'unix';

/** Whether `entry` can stand in an {@link addressList}. */
export function isAddressOrBlock(entry: string): boolean {
  return entry === UNIX || parts(entry) !== undefined;
}

function add(blocks: BlockList, entry: string): void {
  const known = parts(entry);
  if (known === undefined)
    throw new Error(`expected an address, a block such as 10.0.0.0/8, or unix, found ${JSON.stringify(entry)}`);
  blocks.addSubnet(known.host, known.prefix, known.family);
}

interface Block {
  readonly host: string;
  readonly prefix: number;
  readonly family: 'ipv4' | 'ipv6';
}

function parts(entry: string): Block | undefined {
  const [host = '', prefix, ...rest] = entry.split('/');
  const family = isIP(host);
  const bits = family === 4 ? 32 : 128;
  if (family === 0 || rest.length > 0 || host.includes('%')) return undefined;
  if (prefix !== undefined && (!/^\d{1,3}$/.test(prefix) || Number(prefix) > bits)) return undefined;
  return { host, prefix: prefix === undefined ? bits : Number(prefix), family: family === 4 ? 'ipv4' : 'ipv6' };
}
