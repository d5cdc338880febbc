// `npm test`: installs, builds, and runs every check and every test. Needs nothing but Node and npm.
//
// What a machine lacks is skipped, with the reason; MESHGATE_TEST_REQUIRE=consul,netns,epoll (any subset of the list
// below) makes that a failure. The last line counts checks and tests together.
import { prepare, run, step } from './workspace.mjs';

/** Requirements that suites may declare with `needs()` of the testkit. */
const CAPABILITIES = [
  'consul',
  'netns',
  'epoll',
  'haproxy',
  'nginx',
  'postgres',
  'uring',
  'chromium',
  'promtool',
  'systemd',
];

const CHECKS = [
  ['types of tests and scripts', 'tsc', '-p', 'tsconfig.test.json'],
  ['types of the page', 'tsc', '-p', 'apps/gateway/page/tsconfig.json'],
  ['format', 'prettier', '--check', '.'],
  ['lint', 'oxlint', '--deny-warnings'],
  ['dependency directions', 'depcruise', '--config', '.dependency-cruiser.mjs', 'packages', 'apps', 'examples'],
  ['unused code', 'knip', '--no-config-hints'],
  ['docstrings', 'node', 'scripts/check-docs.mjs'],
  ['reports of what packages offer', 'node', 'scripts/api-reports.mjs'],
  ['package manifests', 'node', 'scripts/check-packages.mjs'],
  ['packages as a stranger has them', 'node', 'scripts/check-tarballs.mjs'],
  ['packages as published', 'turbo', 'run', 'verify', '--output-logs=errors-only'],
];

const counts = { passed: 0, failed: 0, skipped: 0 };
/** Number of skipped tests by reason. */
const skips = new Map();
if ((await check('MESHGATE_TEST_REQUIRE', requireKnown)) && (await prepare())) {
  for (const [name, command, ...args] of CHECKS) await check(name, () => run(command, args));
  await runTests();
} else {
  counts.failed ||= 1;
}
for (const [reason, count] of skips) console.log(`skipped  ${count} ${count === 1 ? 'test' : 'tests'}: ${reason}`);
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exitCode = counts.failed === 0 ? 0 : 1;

/** A check that is counted. */
async function check(name, work) {
  const worked = await step(name, work);
  counts[worked ? 'passed' : 'failed'] += 1;
  return worked;
}

/** Otherwise a misspelt requirement would be ignored. */
async function requireKnown() {
  const required = (process.env.MESHGATE_TEST_REQUIRE ?? '').split(',').map((name) => name.trim());
  const unknown = required.filter((name) => name !== '' && !CAPABILITIES.includes(name));
  if (unknown.length > 0) throw new Error(`expected some of ${CAPABILITIES.join(', ')}, found ${unknown.join(', ')}`);
}

async function runTests() {
  // vitest reads it when it is loaded, so it is set before.
  if (!process.stdout.isTTY) process.env.NO_COLOR ??= '1';
  // Imported late: before `prepare` there may be no vitest.
  const { startVitest } = await import('vitest/node');
  const vitest = await startVitest('test', [], { watch: false });
  await vitest.close();
  counts.failed += vitest.state.getUnhandledErrors().length;
  for (const file of vitest.state.getTestModules()) countFile(file);
}

function countFile(file) {
  const tests = [...file.children.allTests()];
  // A file that could not be loaded has no failed tests.
  if (!file.ok() && !tests.some((test) => test.result().state === 'failed')) counts.failed += 1;
  for (const test of tests) {
    const { state, note } = test.result();
    if (state === 'passed' || state === 'failed') counts[state] += 1;
    else skip(note ?? reasonIn(test.fullName) ?? `${file.relativeModuleId}: not for this machine`);
  }
}

function skip(reason) {
  counts.skipped += 1;
  skips.set(reason, (skips.get(reason) ?? 0) + 1);
}

/** Suites with requirements have them in their name, through `needs()` of the testkit. */
function reasonIn(name) {
  return /\((needs \w+: [^)]*)\)/.exec(name)?.[1];
}
