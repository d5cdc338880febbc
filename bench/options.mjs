import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { GOAL_LOADS, LOADS } from './figures.mjs';

const RESULTS = fileURLToPath(new URL('results', import.meta.url));
const KNOWN_LOADS = [...LOADS.map(({ id }) => id), 'idle', 'reload', 'sidecar'];

/** Transports of ours. */
export const TRANSPORTS = ['node', 'epoll', 'uring'];

/** What `pnpm bench --help` prints. */
export const USAGE = `pnpm bench [options]

  --only LIST         loads, or prefixes of their names, separated by commas: ${KNOWN_LOADS.join(', ')}, micro
  --goals             only the loads and proxies that the goals need: ${GOAL_LOADS.join(', ')}
  --proxies LIST      proxies: haproxy, haproxy-splice, nginx, nginx-buffers, sniproxy, envoy, bare, core-node, gateway-epoll …
  --transports LIST   of ours: node, epoll, uring (all)
  --workers LIST      of the gateway: processes (1,2)
  --rounds N          number of rounds, in alternating order (3; 5 with --goals)
  --seconds N         duration of one load on one proxy (2; 1.2 with --goals)
  --quick             one round of one second, as a smoke test
  --render            no measurement: renders table, picture and page from the last raw results
  --output FOLDER     folder of latest.json and latest.svg (bench/results)
  --write-docs        also writes the results into docs/performance.md`;

/**
 * @typedef {object} Options
 * @property {'run'} kind
 * @property {{ readonly rounds: number, readonly seconds: number }} settings
 * @property {readonly string[]} loads ids
 * @property {boolean} micro
 * @property {boolean} goals only contestants and loads that the goals need
 * @property {readonly string[] | undefined} chosen ids of contestants; absent: all
 * @property {readonly string[]} transports
 * @property {readonly number[]} workers
 * @property {boolean} render
 * @property {string} output
 * @property {boolean} writeDocs
 */

/**
 * @param {readonly string[]} args
 * @returns {Options | { readonly kind: 'help' }}
 * @throws TypeError for an unknown option, or one that is not a number where one is expected
 */
export function parseOptions(args) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string' },
      proxies: { type: 'string' },
      transports: { type: 'string', default: TRANSPORTS.join(',') },
      workers: { type: 'string', default: '1,2' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      goals: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      output: { type: 'string' },
      render: { type: 'boolean', default: false },
      'write-docs': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return { kind: 'help' };
  const wanted = list(values.only) ?? (values.goals ? GOAL_LOADS : [...KNOWN_LOADS, 'micro']);
  return {
    kind: 'run',
    settings: {
      rounds: positive('rounds', values.rounds ?? roundsOf(values)),
      seconds: positive('seconds', values.seconds ?? lengthOf(values)),
    },
    loads: loadsOf(wanted),
    micro: wanted.includes('micro'),
    goals: values.goals,
    chosen: list(values.proxies),
    transports: list(values.transports) ?? [],
    workers: (list(values.workers) ?? []).map((text) => positive('workers', text)),
    render: values.render,
    output: values.output === undefined ? RESULTS : resolve(values.output),
    writeDocs: values['write-docs'],
  };
}

/** Shorter with `--quick`. */
function lengthOf({ quick, goals }) {
  if (quick) return '1';
  return goals ? '1.2' : '2';
}

function roundsOf({ quick, goals }) {
  if (quick) return '1';
  return goals ? '5' : '3';
}

function loadsOf(wanted) {
  const unknown = wanted.filter((name) => name !== 'micro' && !KNOWN_LOADS.some((load) => load.startsWith(name)));
  if (unknown.length > 0) {
    throw new TypeError(`expected loads out of ${KNOWN_LOADS.join(', ')}, micro, found ${unknown.join(', ')}`);
  }
  return KNOWN_LOADS.filter((load) => wanted.some((name) => load.startsWith(name)));
}

function list(text) {
  return text
    ?.split(',')
    .map((item) => item.trim())
    .filter(Boolean);
}

function positive(name, text) {
  const value = Number(text);
  if (!(value > 0)) throw new TypeError(`expected a number above 0 for --${name}, found ${text}`);
  return value;
}
