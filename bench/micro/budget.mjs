// Allocations of the pipeline per connection: promises, and JavaScript objects with their bytes. The same in every run,
// on every machine.
//
//   node bench/micro/budget.mjs [--instructions]
//
// `--instructions` also counts instructions and some calls into V8 with valgrind, which takes some minutes: docs/adr/0023
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promiseHooks } from 'node:v8';
import { carry, startProxy } from './sessions-in-memory.mjs';

const WARMUP = 20_000;
const COUNTED = 2_000;
// Counts the difference between a run that carries this many more connections and one that does not.
const VALGRIND_WARMUP = 10_000;
const VALGRIND_COUNTED = 4_000;
// No other thread than the one that is counted, and nothing random.
const SAME_EACH_TIME = ['--predictable', '--hash-seed=1', '--random-seed=1'];

/** Functions of V8 whose calls are counted: each is slower than the compiled code that calls it. */
const CALLS = {
  megamorphicLoads: /^Builtins_(Keyed)?LoadIC(Trampoline)?_Megamorphic$/,
  regularExpressions: /^Builtins_RegExp(PrototypeTest|PrototypeExec|ExecInternal|Replace|Split)/,
  runtimeCalls: /^v8::internal::Runtime_/,
};

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
  const [less, more] = [VALGRIND_WARMUP, VALGRIND_WARMUP + VALGRIND_COUNTED].map(callgrind);
  const between = (count) => Math.round(((count(more) - count(less)) / VALGRIND_COUNTED) * 10) / 10;
  return {
    instructions: Math.round(between(({ total }) => total)),
    ...Object.fromEntries(Object.entries(CALLS).map(([name, functions]) => [name, between(callsTo(functions))])),
  };
}

/** Code from a JIT compiler must be looked up again: `--smc-check`. */
function callgrind(connections) {
  const folder = mkdtempSync(join(tmpdir(), 'meshgate-budget-'));
  const profile = join(folder, 'profile');
  try {
    const valgrind = ['--tool=callgrind', '--smc-check=all-non-file', `--callgrind-out-file=${profile}`];
    const program = [process.execPath, ...SAME_EACH_TIME, fileURLToPath(import.meta.url), '--carry', `${connections}`];
    execFileSync('valgrind', [...valgrind, ...program], { stdio: 'ignore' });
    return profileOf(readFileSync(profile, 'utf8'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * Parses callgrind's format: `cfn=(id) name` is the callee of the next `calls=count`. Only the first use of an id, there or
 * in `fn=(id) name`, has the name.
 */
function profileOf(text) {
  const names = new Map();
  const calls = new Map();
  let called;
  for (const [, kind, id, name, count] of text.matchAll(/^(?:(c?)fn=\((\d+)\)(?: (.*))?|calls=(\d+).*)$/gm)) {
    if (name !== undefined) names.set(id, name);
    if (kind === 'c') called = id;
    if (count !== undefined) calls.set(called, (calls.get(called) ?? 0) + Number(count));
  }
  return { total: Number(/^(?:summary|totals): (\d+)/m.exec(text)?.[1]), names, calls };
}

function callsTo(functions) {
  return ({ names, calls }) => {
    const counts = [...calls].filter(([id]) => functions.test(names.get(id)));
    return counts.reduce((sum, [, count]) => sum + count, 0);
  };
}

function each(count) {
  return Math.round((count / COUNTED) * 10) / 10;
}
