// Lookups of an address in a list of 100,000 blocks, of both families: in our set, and in Node's `net.BlockList`.
// Nanoseconds. If the path of a library with `parse` and `parseCIDR`, such as ipaddr.js, follows, it is measured as
// well.
import { BlockList, isIP } from 'node:net';
import { pathToFileURL } from 'node:url';
import { addressSet } from '../../packages/core/dist/parts.js';
import { nanosecondsEach } from './timing.mjs';

const ENTRIES = 100_000;
const SAMPLE = 1_000;
/** Lists that search linearly get a hundredth of the lookups, so that a run does not take too long. */
const SLOW_SAMPLE = 10;

const entries = Array.from({ length: ENTRIES }, (_, index) =>
  index % 2 === 0
    ? `10.${(index >> 9) & 255}.${(index >> 1) & 255}.${(index >> 8) & 254}/31`
    : `2001:db8:${(index >> 16).toString(16)}:${(index & 0xffff).toString(16)}::/64`,
);
// Half of them are in the list; in an order that defeats caches.
const picked = Array.from({ length: SAMPLE }, (_, index) => {
  const at = (index * 7_919 * 13) % ENTRIES;
  const [block = ''] = (entries[at] ?? '').split('/');
  if (index % 2 === 0) return isIP(block) === 4 ? block : `${block}1`;
  return isIP(block) === 4 ? block.replace('10.', '11.') : block.replace('2001', '2002');
});

const startedAt = performance.now();
const set = addressSet(entries);
const builtMs = performance.now() - startedAt;
const list = new BlockList();
for (const entry of entries) {
  const [address = '', bits] = entry.split('/');
  list.addSubnet(address, Number(bits), `ipv${isIP(address)}`);
}

console.log(
  JSON.stringify({
    entries: ENTRIES,
    buildMs: builtMs,
    addressSetNs: lookups(picked, (host) => set.has(host)),
    blockListNs: lookups(picked.slice(0, SLOW_SAMPLE), (host) => list.check(host, `ipv${isIP(host)}`)),
    ...(process.argv[2] !== undefined && { libraryNs: await libraryNs(process.argv[2]) }),
  }),
);

/** @param {string} path */
async function libraryNs(path) {
  const { default: library } = await import(pathToFileURL(path).href);
  const blocks = entries.map((entry) => library.parseCIDR(entry));
  return lookups(picked.slice(0, SLOW_SAMPLE), (host) => {
    const address = library.parse(host);
    return blocks.some((block) => block[0].kind() === address.kind() && address.match(block));
  });
}

/**
 * @param {readonly string[]} hosts
 * @param {(host: string) => boolean} isIn
 */
function lookups(hosts, isIn) {
  let found = 0;
  const ns = nanosecondsEach(hosts.length, () => {
    for (const host of hosts) if (isIn(host)) found += 1;
  });
  if (found === 0) throw new Error('expected half of the addresses to be in the list, found none');
  return ns;
}
