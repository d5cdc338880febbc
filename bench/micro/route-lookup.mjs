// Lookups among 100,000 routes: exact, by suffix, by the last suffix of a long name, and without a match. Nanoseconds.
import { indexRoutes, RouteTable } from '../../packages/core/dist/parts.js';
import { nanosecondsEach } from './timing.mjs';
import { manyRoutes, ROUTES } from './routes.mjs';

const SAMPLE = 1_000;

const table = new RouteTable([indexRoutes('bench', manyRoutes(1))]);
// Spread over the whole table, in an order that defeats caches.
const picked = Array.from({ length: SAMPLE }, (_, index) => (index * 7_919 * 13) % ROUTES);

console.log(
  JSON.stringify({
    exactNs: lookups(picked.map((index) => `service-${index & ~1}.mesh.example`)),
    suffixNs: lookups(picked.map((index) => `host.zone-${index | 1}.apps.example`)),
    deepSuffixNs: lookups(picked.map((index) => `a.b.c.d.e.zone-${index | 1}.apps.example`)),
    missNs: lookups(picked.map((index) => `service-${index}.nowhere.example`)),
  }),
);

function lookups(names) {
  let found = 0;
  const ns = nanosecondsEach(names.length, () => {
    for (const name of names) if (table.lookup(name) !== undefined) found += 1;
  });
  if (found === 0 && !names[0].includes('nowhere')) throw new Error(`expected a route for ${names[0]}, found none`);
  return ns;
}
