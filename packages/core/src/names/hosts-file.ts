import { isIP } from 'node:net';

/** Addresses by lower-case name, in the order of the file. */
export type Hosts = ReadonlyMap<string, readonly string[]>;

/** Parses a hosts file (hosts(5)). Invalid lines are skipped, as by the system. Pure. */
export function parseHosts(text: string): Hosts {
  const hosts = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [address = '', ...names] = line.replace(/#.*$/, '').trim().split(/\s+/);
    if (isIP(address) === 0) continue;
    for (const name of names) add(hosts, name.toLowerCase().replace(/\.$/, ''), address);
  }
  return hosts;
}

function add(hosts: Map<string, string[]>, name: string, address: string): void {
  const addresses = hosts.get(name);
  if (addresses === undefined) hosts.set(name, [address]);
  else if (!addresses.includes(address)) addresses.push(address);
}
