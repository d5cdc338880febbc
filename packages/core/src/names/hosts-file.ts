import { isIP } from 'node:net';

/** Addresses by lower-case name, in the order of the file. */
export type Hosts = ReadonlyMap<string, readonly string[]>;

/** Parses a hosts file (hosts(5)). Invalid lines are skipped, as by the system. Pure. */
export function parseHosts(text: string): Hosts {
  // Sets, since a file may list one name many thousand times.
  const hosts = new Map<string, Set<string>>();
  for (const line of text.split('\n')) {
    const [address = '', ...names] = line.replace(/#.*$/, '').trim().split(/\s+/);
    if (isIP(address) === 0) continue;
    for (const name of names) add(hosts, name.toLowerCase().replace(/\.$/, ''), address);
  }
  return new Map(Array.from(hosts, ([name, addresses]) => [name, [...addresses]]));
}

function add(hosts: Map<string, Set<string>>, name: string, address: string): void {
  const addresses = hosts.get(name);
  if (addresses === undefined) hosts.set(name, new Set([address]));
  else addresses.add(address);
}
