// Allocations of the pipeline per connection: promises, and JavaScript objects with their bytes. The same in every run,
// on every machine.
//
//   node bench/micro/budget.mjs [--instructions]
//
// `--instructions` also counts instructions with valgrind, which takes some minutes: docs/adr/0023
import { execFileSync } from 'node:child_process';
import { Session } from 'node:inspector/promises';
import { fileURLToPath } from 'node:url';
import { promiseHooks } from 'node:v8';
import { carry, startProxy } from './sessions-in-memory.mjs';

const WARMUP = 20_000;
const COUNTED = 2_000;
// Counts the difference between a run that carries this many more connections and one that does not.
const VALGRIND_WARMUP = 6_000;
const VALGRIND_COUNTED = 2_000;
// No other thread than the one that is counted, and nothing random.
const SAME_EACH_TIME = ['--predictable', '--hash-seed=1', '--random-seed=1'];

const [mode, carried] = process.argv.slice(2);
if (mode === '--carry') {
  await startProxy();
  await carry(Number(carried));
  process.exit(0);
}
await startProxy();
await carry(WARMUP);
console.log(
  JSON.stringify({
    promises: await promises(),
    ...(await objects()),
    ...(mode === '--instructions' && instructions()),
  }),
);
process.exit(0);

async function promises() {
  let made = 0;
  const stop = promiseHooks.onInit(() => (made += 1));
  await carry(COUNTED);
  stop();
  return each(made);
}

/** Every allocation is sampled, including those that a minor collection has freed since. */
async function objects() {
  const session = new Session();
  session.connect();
  await session.post('HeapProfiler.startSampling', {
    samplingInterval: 1,
    includeObjectsCollectedByMinorGC: true,
    includeObjectsCollectedByMajorGC: true,
  });
  await carry(COUNTED);
  const { profile } = await session.post('HeapProfiler.stopSampling');
  session.disconnect();
  return {
    objects: each(profile.samples.length),
    bytes: each(profile.samples.reduce((sum, { size }) => sum + size, 0)),
  };
}

function instructions() {
  const [less, more] = [VALGRIND_WARMUP, VALGRIND_WARMUP + VALGRIND_COUNTED].map(countedInstructions);
  return { instructions: Math.round((more - less) / VALGRIND_COUNTED) };
}

/** Code from a JIT compiler must be looked up again: `--smc-check`. */
function countedInstructions(connections) {
  const valgrind = ['--tool=callgrind', '--smc-check=all-non-file', '--callgrind-out-file=/dev/null'];
  const program = [process.execPath, ...SAME_EACH_TIME, fileURLToPath(import.meta.url), '--carry', `${connections}`];
  const output = execFileSync('sh', ['-c', 'exec "$@" 2>&1', 'sh', 'valgrind', ...valgrind, ...program], {
    encoding: 'utf8',
  });
  return Number(/Collected : (\d+)/.exec(output)?.[1]);
}

function each(count) {
  return Math.round((count / COUNTED) * 10) / 10;
}
