// The cost of a unit of work, from many short rounds of several processes. Pure.
import { median } from './statistics.mjs';

/**
 * @typedef {object} Spent in one round
 * @property {number} units of work: connections, messages or gigabytes
 * @property {number} total CPU seconds, exact
 * @property {number} user CPU seconds, sampled at the kernel's tick
 * @property {number} system likewise
 *
 * @typedef {Readonly<Record<string, readonly Spent[]>>} Life the rounds of one process of each proxy, by the proxy's id
 *
 * @typedef {object} Cost CPU seconds per unit
 * @property {number} median of all rounds: without rare events such as a major garbage collection
 * @property {number} mean of all rounds: with them
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
 * @typedef {object} Ratio
 * @property {number} median of the ratios of all rounds of all lives
 * @property {number} [error] its standard error, as the lives differ; absent with one life
 * @property {number} min the life with the lowest median
 * @property {number} max the life with the highest
 */

/**
 * The cost of `id` compared with that of `base`, round by round.
 *
 * @param {readonly Life[]} lives at least one, with at least one round each
 * @param {string} id
 * @param {string} base
 * @returns {Ratio}
 */
export function ratioOf(lives, id, base) {
  const ratios = lives.map((life) => life[id].map((spent, round) => each(spent) / each(life[base][round])));
  const medians = ratios.map(median);
  return {
    median: median(ratios.flat()),
    ...(lives.length > 1 && { error: standardError(medians) }),
    min: Math.min(...medians),
    max: Math.max(...medians),
  };
}

// Standard deviation of a normal distribution per median absolute deviation, which one outlier does not distort.
const DEVIATIONS = 1.4826;

function standardError(values) {
  const middle = median(values);
  return (DEVIATIONS * median(values.map((value) => Math.abs(value - middle)))) / Math.sqrt(values.length);
}

function each({ total, units }) {
  return total / units;
}
