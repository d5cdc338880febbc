// What a unit of work has cost, out of many short rounds of several processes. Pure.
import { median, ratio, summary } from './statistics.mjs';

/**
 * @typedef {object} Spent in one round
 * @property {number} units connections or messages that were done, or gigabytes that were carried
 * @property {number} total CPU seconds, exact
 * @property {number} user CPU seconds, as often as the clock's tick found it there
 * @property {number} system likewise
 *
 * @typedef {Readonly<Record<string, readonly Spent[]>>} Life the rounds of one process of each proxy, by the proxy's id
 *
 * @typedef {object} Cost CPU seconds a unit
 * @property {number} median of all rounds: rare events, such as a whole collection of garbage, are not in it
 * @property {number} mean of all rounds together: they are
 * @property {number} user part of the mean
 * @property {number} system part of the mean
 */

/**
 * @param {readonly Life[]} lives at least one
 * @returns {Readonly<Record<string, Cost>>} by the proxy's id
 */
export function costsOf(lives) {
  return Object.fromEntries(Object.keys(lives[0]).map((id) => [id, costOf(lives.flatMap((life) => life[id]))]));
}

function costOf(rounds) {
  const [units, total, user, system] = ['units', 'total', 'user', 'system'].map((key) =>
    rounds.reduce((sum, round) => sum + round[key], 0),
  );
  const mean = total / units;
  const userShare = user / (user + system);
  return { median: median(rounds.map(each)), mean, user: mean * userShare, system: mean * (1 - userShare) };
}

/**
 * How what `id` costs compares with what `base` costs: of each life the median of its rounds' ratios, and of these the median, the
 * lowest and the highest. A difference that not all lives agree on is none.
 *
 * @param {readonly Life[]} lives at least one, with at least one round each
 * @param {string} id
 * @param {string} base
 * @returns {import('./statistics.mjs').Summary}
 */
export function ratiosOf(lives, id, base) {
  return summary(lives.map((life) => ratio(life[id].map(each), life[base].map(each))));
}

function each({ total, units }) {
  return total / units;
}
