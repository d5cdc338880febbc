// `pnpm bench`: this gateway and other SNI proxies, in one run. docs/performance.md says how to read the results.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { chart } from './chart.mjs';
import { failures, othersShare, rows, single } from './comparison.mjs';
import { contestants, forGoals } from './contestants.mjs';
import { withResults } from './document.mjs';
import { expectedSeconds, MOST_IDLE_ROUNDS, takes } from './expected.mjs';
import { LOADS } from './figures.mjs';
import { addedLines, goalLines, sharingLines } from './findings.mjs';
import { compiledPrograms, onGround, startOn } from './ground.mjs';
import { machine, machineSlug } from './machine.mjs';
import { ranInOwnNetwork } from './network.mjs';
import { parseOptions, TRANSPORTS, USAGE } from './options.mjs';
import { firstJson, start } from './processes.mjs';
import { reload } from './reload.mjs';
import { sample, sampleIdle, warm } from './sampling.mjs';
import { PATH_FIGURES } from './sidecar/figures.mjs';
import { measurePaths } from './sidecar/measure.mjs';
import { orderOfRound } from './statistics.mjs';
import { cellsOf, columns } from './table.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DOCUMENT = join(ROOT, 'docs/performance.md');
const RAW = 'latest.json';
const MICRO = ['route-lookup', 'client-hello', 'table-swap'];
// Between two runs, for sockets to close.
const SETTLE_MS = 100;
// Enough for a busy machine.
const MICRO_WITHIN_MS = 120_000;
// Routes are replaced once a second: at least a few times.
const LEAST_RELOAD_SECONDS = 5;

process.once('SIGINT', () => process.exit(130));
process.once('SIGTERM', () => process.exit(143));
await main();

async function main() {
  const options = parseOptions(process.argv.slice(2));
  if (options.kind === 'help') {
    console.log(USAGE);
    return;
  }
  if (options.render) await report(lastResults(options), options);
  else if (!(await ranInOwnNetwork(warn))) await report(await measure(options), options);
}

function lastResults({ output }) {
  return readJson(join(output, RAW));
}

async function measure(options) {
  const found = { date: new Date().toISOString(), machine: machine(), settings: options.settings };
  const compared = options.loads.length > 0 ? await compareAll(options) : { contestants: [], missing: [], samples: {} };
  const micro = options.micro ? await microBenchmarks() : undefined;
  return { ...found, ...compared, ...(micro !== undefined && { micro }) };
}

/** Every load on every proxy that is installed; nothing where the loads cannot run. */
async function compareAll(options) {
  const compiled = await compiledPrograms().catch((error) =>
    warn(`only the measures inside the process: ${error.message}`),
  );
  if (compiled === undefined) return { contestants: [], missing: [], samples: {} };
  return onGround(compiled, (ground) => compare({ ...ground, ...options }));
}

async function compare(bench) {
  const { present, missing } = find(bench);
  const samples = {};
  const minutes = Math.ceil(expectedSeconds(present, bench) / 60);
  progress(`about ${minutes} ${minutes === 1 ? 'minute' : 'minutes'}, if nobody else uses this machine`);
  // The paths between two applications have processes of their own.
  const wanted = bench.loads.some((id) => id !== 'sidecar') ? present : [];
  const running = await startAll(wanted, missing, bench);
  try {
    await inRounds(bench, running, samples);
  } finally {
    await Promise.all(running.map(({ proxy }) => proxy.stop()));
  }
  const started = running.map(({ contestant }) => contestant);
  const concerned = (load) => started.filter((contestant) => takes(contestant, load));
  if (bench.loads.includes('idle')) await idleRounds(bench, concerned('idle'), samples);
  const reloads = bench.loads.includes('reload') ? await reloadAll(bench, concerned('reload')) : undefined;
  const paths = bench.loads.includes('sidecar')
    ? await orWarn(undefined, 'sidecar', () => measurePaths(bench, progress))
    : undefined;
  const participants = started.map(({ id, label, family, transport, workers, version }) => ({
    id,
    label,
    family,
    version,
    ...(transport !== undefined && { transport, workers }),
  }));
  return {
    contestants: participants,
    missing,
    samples,
    ...(reloads !== undefined && { reload: reloads }),
    ...(paths !== undefined && { sidecar: paths }),
  };
}

function find({ transports, workers, chosen, goals }) {
  const present = [];
  const missing = [];
  const known = contestants({ transports, workers });
  for (const contestant of goals ? forGoals(known) : known) {
    if (chosen !== undefined && !chosen.includes(contestant.id)) continue;
    const found = contestant.find();
    if ('missing' in found) {
      missing.push({ id: contestant.id, label: contestant.label, why: found.missing });
      warn(`without ${contestant.label}: ${found.missing}`);
    } else present.push({ ...contestant, ...found });
  }
  return { present, missing };
}

async function startAll(present, missing, bench) {
  const running = [];
  for (const contestant of present) {
    try {
      running.push({ contestant, proxy: await startOn(bench, contestant) });
    } catch (error) {
      missing.push({ id: contestant.id, label: contestant.label, why: `does not start: ${reasonOf(error)}` });
      warn(`without ${contestant.label}: ${error.message}`);
    }
  }
  return running;
}

/** Each round runs every load on every proxy, in alternating order. */
async function inRounds(bench, running, samples) {
  const { settings } = bench;
  const loads = LOADS.filter(({ id }) => bench.loads.includes(id));
  if (loads.length === 0) return;
  for (const { contestant, proxy } of running)
    await orWarn(null, `warming ${contestant.id}`, () => warm({ ...bench, proxy }));
  for (let round = 0; round < settings.rounds; round++) {
    for (const load of loads) {
      progress(`round ${round + 1} of ${settings.rounds}, ${load.id}`);
      const concerned = running.filter(({ contestant }) => takes(contestant, load.id));
      for (const { contestant, proxy } of orderOfRound(concerned, round)) {
        await sleep(SETTLE_MS);
        const found = await sampleOr(null, { ...bench, proxy, load, seconds: settings.seconds });
        keep(samples, load.id, contestant.id, round, found);
      }
    }
  }
}

/** Memory is read in a new process for each round, without what earlier loads have left behind. */
async function idleRounds(bench, started, samples) {
  const rounds = Math.min(bench.settings.rounds, MOST_IDLE_ROUNDS);
  for (let round = 0; round < rounds; round++) {
    progress(`round ${round + 1} of ${rounds}, idle`);
    for (const contestant of orderOfRound(started, round)) {
      const proxy = await startOn(bench, contestant, { collectable: true });
      const found = await orWarn(null, `idle on ${contestant.id}`, () => sampleIdle({ ...bench, proxy }));
      await proxy.stop();
      keep(samples, 'idle', contestant.id, round, found);
    }
  }
}

async function reloadAll(bench, started) {
  const reloads = {};
  for (const contestant of started.filter(({ family }) => family === 'ours')) {
    progress(`reload, ${contestant.id}`);
    const proxy = await startOn(bench, contestant);
    const seconds = Math.max(bench.settings.seconds, LEAST_RELOAD_SECONDS);
    const found = await orWarn(undefined, `reload on ${contestant.id}`, () => reload({ ...bench, proxy, seconds }));
    await proxy.stop();
    if (found !== undefined) reloads[contestant.id] = found;
  }
  return reloads;
}

async function microBenchmarks() {
  const results = {};
  for (const name of MICRO) {
    progress(name);
    const started = start(process.execPath, [fileURLToPath(new URL(`micro/${name}.mjs`, import.meta.url))]);
    const found = await orWarn(undefined, name, () => firstJson(started, MICRO_WITHIN_MS));
    await started.stop();
    if (found !== undefined) results[name] = found;
  }
  return results;
}

function sampleOr(otherwise, run) {
  return orWarn(otherwise, run.load.id, () => sample(run));
}

/** A proxy that fails a load does not end the run of the others. */
async function orWarn(otherwise, what, work) {
  try {
    return await work();
  } catch (error) {
    warn(`${what}: ${error.message}`);
    return otherwise;
  }
}

/**
 * The error message in a program's last output, which may include a stack trace: the line with the error, or the first
 * line.
 */
function reasonOf({ message }) {
  const lines = message.split('\n').map((line) => line.trim());
  return lines.find((line) => line.startsWith('Error: ')) ?? lines[0];
}

function keep(samples, load, contestant, round, found) {
  samples[load] ??= {};
  samples[load][contestant] ??= [];
  samples[load][contestant][round] = found;
}

async function report(results, { output, render, writeDocs }) {
  const found = rows(results);
  if (found.length > 0) print(columns(cellsOf(found, single(results))));
  const { sidecar } = results;
  const paths = sidecar === undefined ? [] : rows(sidecar, PATH_FIGURES);
  if (paths.length > 0) print(columns(cellsOf(paths, sidecar.contestants)), ...addedLines(sidecar));
  const goals = goalLines(results);
  if (goals.length > 0) print(columns(goals, 4), ...sharingLines(results));
  for (const { contestant, load, failed, stalled } of failures(results)) {
    console.log(`${contestant}, ${load}: ${failed} connections failed, ${stalled} bulk streams stalled`);
  }
  const others = othersShare(results);
  if (others !== undefined)
    console.log(`others used ${(others * 100).toFixed(0)} % of the machine's CPU (median of all samples)`);
  for (const part of ['micro', 'reload']) if (results[part] !== undefined) console.log(part, results[part]);
  mkdirSync(output, { recursive: true });
  if (!render) keepOfOtherMachine(output, results);
  await writeFormatted(join(output, RAW), JSON.stringify(results));
  const plotted = [...found, ...paths];
  if (plotted.length > 0) writeFileSync(join(output, 'latest.svg'), chart(results, plotted));
  if (writeDocs)
    await writeFormatted(DOCUMENT, withResults(readFileSync(DOCUMENT, 'utf8'), results, earlierOf(output, results)));
  console.log(`\nraw results and picture: ${output}`);
}

/** The last results of other machines are kept beside those of this one. */
function keepOfOtherMachine(output, results) {
  const last = join(output, RAW);
  if (!existsSync(last)) return;
  const other = machineSlug(readJson(last).machine);
  if (other !== machineSlug(results.machine)) renameSync(last, join(output, `${other}.json`));
}

/** @returns stored results of other machines */
function earlierOf(output, results) {
  const kept = readdirSync(output).filter((name) => name.endsWith('.json') && name !== RAW);
  return kept
    .map((name) => readJson(join(output, name)))
    .filter(({ machine: other }) => machineSlug(other) !== machineSlug(results.machine));
}

/** Results as they were stored; removed transports are not shown. */
function readJson(file) {
  const results = JSON.parse(readFileSync(file, 'utf8'));
  const ours = new RegExp(`-(${TRANSPORTS.join('|')})(-\\d+w)?$`);
  const known = ({ id, family }) => family !== 'ours' || ours.test(id);
  return { ...results, contestants: results.contestants.filter(known) };
}

/** Formatted as the project's files, since they are checked like any other. */
async function writeFormatted(file, text) {
  writeFileSync(file, await format(text, { ...(await resolveConfig(DOCUMENT)), filepath: file }));
}

/** A paragraph of its own. */
function print(...lines) {
  console.log(`\n${lines.join('\n')}`);
}

function warn(line) {
  console.log(line);
}

function progress(line) {
  const time = Math.round(process.uptime());
  console.log(`[${time} s] ${line}`);
}
