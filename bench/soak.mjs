// `pnpm bench:soak`: hours compressed into minutes. docs/epoll-transport.md says what is checked.
import { parseArgs } from 'node:util';
import { soak } from './soak/soak.mjs';

const USAGE = `pnpm bench:soak [options]

  --variants LIST     transports node and uring, splice modes copy and splice of the epoll transport (all)
  --connections N     for each variant (20000)
  --seed TEXT         the same seed sends the same bytes, with the same aborts (1)
  --at-a-time N       concurrent connections (48)
  --deaths N          how often the backends are killed meanwhile (10)
  --json              only one line of JSON for each variant`;

/** Share of the connections that are repeated with too few descriptors. */
const STARVED_SHARE = 10;

const { values } = parseArgs({
  options: {
    variants: { type: 'string', default: 'node,copy,splice,uring' },
    connections: { type: 'string', default: '20000' },
    seed: { type: 'string', default: '1' },
    'at-a-time': { type: 'string', default: '48' },
    deaths: { type: 'string', default: '10' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) console.log(USAGE);
else await soakAll(values.variants.split(','));

async function soakAll(variants) {
  for (const variant of variants) {
    const connections = positive('connections', values.connections);
    await soakOne(variant, { connections, deaths: positive('deaths', values.deaths) });
    // Repeated with too few descriptors for half of the concurrent connections.
    await soakOne(variant, { connections: Math.ceil(connections / STARVED_SHARE), descriptors: 56 });
  }
}

async function soakOne(variant, options) {
  const atATime = positive('at-a-time', values['at-a-time']);
  const name = options.descriptors === undefined ? variant : `${variant}, ${options.descriptors} descriptors`;
  const show = values.json ? () => undefined : progressLine(name, options.connections);
  const report = await soak({ ...settingsOf(variant), ...options, seed: values.seed, atATime, onProgress: show });
  if (report.complaints.length > 0) process.exitCode = 1;
  if (values.json) console.log(JSON.stringify({ variant, ...options, ...report }));
  else print(name, report);
}

/** @returns {{ readonly transport: 'node' | 'epoll' | 'uring', readonly splice?: 'copy' | 'splice' }} */
function settingsOf(variant) {
  if (variant === 'node' || variant === 'uring') return { transport: variant };
  if (variant === 'copy' || variant === 'splice') return { transport: 'epoll', splice: variant };
  throw new TypeError(`expected variants from node, copy, splice, uring, found ${JSON.stringify(variant)}`);
}

/** One line that changes on a terminal; otherwise a line from time to time. */
function progressLine(name, connections) {
  const began = performance.now();
  let shownAt = began;
  let printed = 0;
  return ({ done, starved, bytes, complaints }) => {
    const now = performance.now();
    // Immediately: a user who starts a run of hours wants to see within minutes that it works.
    for (; printed < complaints.length; printed += 1) process.stderr.write(`\n${name}: ${complaints[printed]}\n`);
    if (now - shownAt < (process.stderr.isTTY ? 200 : 30_000)) return;
    shownAt = now;
    const perSecond = (done * 1000) / (now - began);
    const remaining = Math.max(0, (connections - done) / perSecond);
    const text = `${name}: ${done} of ${connections}, ${Math.round(perSecond)}/s, ${minutes(remaining)} remaining, ${gigabytes(bytes)} compared, ${starved} without a descriptor, ${complaints.length} complaints`;
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${text}` : `${text}\n`);
  };
}

function print(name, { done, complete, disturbed, starved, bytes, complaints, before, after, seconds }) {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  const heap = ((after.heapBytes - before.heapBytes) / 1e6).toFixed(1);
  console.log(
    `${name}: ${done} connections in ${minutes(seconds)}, ${gigabytes(bytes)} compared; ${complete} complete, ${disturbed} in progress when a backend died, ${starved} without a descriptor; ` +
      `${after.pauses} pauses of accepting; still open: ${JSON.stringify(after.descriptors)}, ${after.timers} timers, heap ${heap} MB more; ` +
      (complaints.length === 0 ? 'nothing lost' : `${complaints.length} complaints`),
  );
  for (const complaint of complaints) console.log(`  ${complaint}`);
}

function positive(name, text) {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new TypeError(`expected an integer above 0 for --${name}, found ${text}`);
  return value;
}

function minutes(seconds) {
  return seconds < 100 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

function gigabytes(bytes) {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
