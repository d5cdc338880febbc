// Cost of the pipeline alone per connection: sessions over an in-memory transport, from accept to close. Microseconds
// of user time. Varies by a tenth where a proxy on a busy machine varies by a third: use it to judge a change of the
// pipeline.
import { median } from '../statistics.mjs';
import { carry, startProxy } from './sessions-in-memory.mjs';

const CONNECTIONS = 20_000;
const ROUNDS = 15;
const WARMUP_ROUNDS = 3;

await startProxy();
const costs = [];
for (let round = 0; round < ROUNDS; round++) costs.push(await costOfARound());
console.log(JSON.stringify({ sessionUs: median(costs.slice(WARMUP_ROUNDS)) }));
process.exit(0);

async function costOfARound() {
  const before = process.cpuUsage();
  await carry(CONNECTIONS);
  return process.cpuUsage(before).user / CONNECTIONS;
}
