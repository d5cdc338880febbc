// `pnpm bench:cost`: CPU time of a proxy per connection, precise enough to judge a change, even on a machine that is
// used for other things, too. docs/performance.md says how to read it.
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { contestants } from './contestants.mjs';
import { costsOf, ratioOf } from './costs.mjs';
import { LOADS } from './figures.mjs';
import { compiledPrograms, onGround, startOn } from './ground.mjs';
import { drive } from './load.mjs';
import { ranInOwnNetwork } from './network.mjs';
import { warm } from './sampling.mjs';
import { orderOfRound } from './statistics.mjs';
import { columns, times } from './table.mjs';
import { cpuTime } from './usage.mjs';

const USAGE = `pnpm bench:cost [options]

  --against FOLDER   another built checkout: compares the same proxies from it, and peers with its configurations
  --proxies LIST     bare, core-node, core-epoll, core-uring, gateway-node, gateway-epoll … (bare,core-node,core-epoll)
  --load NAME        ${idsOf(LOADS)} (rate)
  --lives N          processes of each proxy, one after the other: their differences show the noise (5)
  --rounds N         rounds of each process, in alternating order (12)
  --cycles N         connections or messages per round (4000; ten times as many messages)
  --seconds N        duration of a round of bulk (0.4)
  --json             all raw results, for scripts`;

// A round is limited by its work; on a busy machine, by this.
const LONGEST_ROUND_SECONDS = 5;
const CYCLES = 4_000;
const MESSAGES = 10 * CYCLES;
const OTHER = '-other';

process.once('SIGINT', () => process.exit(130));
process.once('SIGTERM', () => process.exit(143));
await main();

async function main() {
  const options = parse(process.argv.slice(2));
  if (options === undefined) {
    console.log(USAGE);
    return;
  }
  if (await ranInOwnNetwork(progress)) return;
  const subjects = subjectsOf(options);
  const lives = await onGround(await compiledPrograms(), (ground) => liveAll({ ...ground, ...options, subjects }));
  console.log(options.json ? JSON.stringify({ load: options.load.id, lives }, null, 2) : report(lives, options));
}

function parse(args) {
  const { values } = parseArgs({
    args,
    options: {
      against: { type: 'string' },
      proxies: { type: 'string', default: 'bare,core-node,core-epoll' },
      load: { type: 'string', default: 'rate' },
      lives: { type: 'string', default: '5' },
      rounds: { type: 'string', default: '12' },
      cycles: { type: 'string' },
      seconds: { type: 'string', default: '0.4' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  const load = LOADS.find(({ id }) => id === values.load);
  if (load === undefined) throw new TypeError(`expected one of ${idsOf(LOADS)} for --load, found ${values.load}`);
  const [lives, rounds] = ['lives', 'rounds'].map((name) => positive(name, values[name]));
  const cycles = values.cycles ?? `${load.id === 'rate' ? CYCLES : MESSAGES}`;
  const length = isBulk(load)
    ? { seconds: positive('seconds', values.seconds), cycles: 0 }
    : { seconds: LONGEST_ROUND_SECONDS, cycles: positive('cycles', cycles) };
  const against = values.against === undefined ? undefined : resolve(values.against);
  return { against, load, lives, rounds, length, json: values.json, proxies: values.proxies.split(',') };
}

function isBulk({ id }) {
  return id.startsWith('up') || id.startsWith('down');
}

function idsOf(items) {
  return items.map(({ id }) => id).join(', ');
}

function positive(name, text) {
  const value = Number(text);
  if (!(value > 0)) throw new TypeError(`expected a number above 0 for --${name}, found ${text}`);
  return value;
}

/** The proxies to start: with `--against`, each of ours twice. Those that are the same in both checkouts occur once. */
function subjectsOf({ proxies, against }) {
  const ours = { transports: ['node', 'epoll', 'uring'], workers: [1, 2] };
  const known = contestants(ours);
  const others = against === undefined ? [] : contestants({ ...ours, root: against });
  return proxies.flatMap((id) => {
    const own = known.find((contestant) => contestant.id === id);
    if (own === undefined) throw new TypeError(`expected proxies out of ${idsOf(known)}, found ${id}`);
    const other = others.find((contestant) => contestant.id === id && contestant.family !== 'reference');
    const pair =
      other === undefined ? [own] : [own, { ...other, id: `${id}${OTHER}`, label: `${other.label}${OTHER}` }];
    for (const { label, find } of pair) {
      const found = find();
      if ('missing' in found) throw new Error(`${label}: ${found.missing}`);
    }
    return pair;
  });
}

async function liveAll(run) {
  const lives = [];
  for (let life = 0; life < run.lives; life++) {
    progress(`life ${life + 1} of ${run.lives}`);
    lives.push(await live(run, orderOfRound(run.subjects, life)));
  }
  return lives;
}

/** @returns {Promise<import('./costs.mjs').Life>} */
async function live(run, subjects) {
  const started = [];
  try {
    for (const subject of subjects) started.push({ subject, proxy: await startOn(run, subject) });
    for (const { proxy } of started) await warm({ ...run, proxy });
    const rounds = Object.fromEntries(run.subjects.map(({ id }) => [id, []]));
    for (let round = 0; round < run.rounds; round++) {
      for (const { subject, proxy } of orderOfRound(started, round)) rounds[subject.id].push(await spend(run, proxy));
    }
    return rounds;
  } finally {
    await Promise.all(started.map(({ proxy }) => proxy.stop()));
  }
}

/** @returns {Promise<import('./costs.mjs').Spent>} */
async function spend({ programs, hello, load, length: { seconds, cycles } }, proxy) {
  const before = cpuTime(proxy.pid);
  const results = await Promise.all(
    load.streams.map(({ backend, args }) => {
      const target = ['--port', `${proxy.portFor(backend)}`, '--hello', hello(backend)];
      return drive(programs, [...args, ...target, '--seconds', `${seconds}`, '--warmup', '0', '--cycles', `${cycles}`]);
    }),
  );
  const after = cpuTime(proxy.pid);
  const units = results[0].completed || results[0].bytes / 1e9;
  return {
    units,
    total: after.total - before.total,
    user: after.user - before.user,
    system: after.system - before.system,
  };
}

function report(lives, { load, against }) {
  const [unit, scale, digits] = isBulk(load) ? ['s/GB', 1, 3] : ['µs each', 1e6, 1];
  const costs = costsOf(lives);
  const subjects = Object.keys(costs);
  const lines = subjects.map((id) => {
    const { median, mean, user, system } = costs[id];
    return [id, ...[median, mean, user, system].map((value) => (value * scale).toFixed(digits))];
  });
  const heading = [`${load.id}: CPU of the proxy, ${unit}`, 'median', 'mean', 'of it user', 'system'];
  return [columns([heading, ...lines]), '', ...ratioLines(lives, subjects, against)].join('\n');
}

function ratioLines(lives, ids, against) {
  const pairs = ids.flatMap((id) => {
    const base = against === undefined ? ids[0] : `${id}${OTHER}`;
    return ids.includes(base) && base !== id ? [[id, base]] : [];
  });
  return pairs.map(([id, base]) => {
    const { median, error, min, max } = ratioOf(lives, id, base);
    const spread = error === undefined ? '' : ` ± ${error.toFixed(2)}`;
    return `${id} : ${base} = ${times(median)}${spread}   (lives: ${times(min)} to ${times(max)})`;
  });
}

function progress(line) {
  process.stderr.write(`[${Math.round(process.uptime())} s] ${line}\n`);
}
