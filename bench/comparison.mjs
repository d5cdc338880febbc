// Evaluation of the samples: each figure for each contestant, and how ours compare. Pure.
import { FIGURES, GOALS, RELOAD_GOAL, SHARED_FIGURES, SHARING_GOAL } from './figures.mjs';
import { best, ratio, summary } from './statistics.mjs';

/**
 * @typedef {object} Results of a run, as written to latest.json
 * @property {string} date
 * @property {import('./machine.mjs').Machine} machine
 * @property {{ readonly rounds: number, readonly seconds: number }} settings
 * @property {readonly Participant[]} contestants
 * @property {readonly { readonly id: string, readonly label: string, readonly why: string }[]} missing
 * @property {Readonly<Record<string, Readonly<Record<string, readonly (import('./sampling.mjs').Sample | null)[]>>>>}
 * samples by load, then by contestant, one per round; `null` where it failed
 * @property {Readonly<Record<string, Readonly<Record<string, number>>>>} [micro]
 * @property {Readonly<Record<string, import('./reload.mjs').Reload>>} [reload] by contestant
 * @property {Pick<Results, 'contestants' | 'samples'>} [sidecar] of the paths between two applications, each a
 * contestant
 *
 * @typedef {Pick<import('./contestants.mjs').Contestant, 'id' | 'label' | 'family' | 'transport' | 'workers'> & {
 * readonly version: string }} Participant
 */

/**
 * @typedef {object} Row a figure of every contestant that has one
 * @property {import('./figures.mjs').Figure} figure
 * @property {readonly Cell[]} cells in the order of the contestants
 * @property {string | undefined} bestPeer id of the best peer in its usual configuration
 *
 * @typedef {object} Cell
 * @property {Participant} contestant
 * @property {import('./statistics.mjs').Summary} summary
 * @property {import('./statistics.mjs').Summary} [toBestPeer] ratio of ours, or of a tuned peer, to the best peer
 */

/**
 * All contestants with one thread, which are compared with each other.
 *
 * @param {Pick<Results, 'contestants'>} results
 * @returns {readonly Participant[]}
 */
export function single({ contestants }) {
  return contestants.filter(({ workers = 1 }) => workers === 1);
}

/**
 * @param {Pick<Results, 'contestants' | 'samples'>} results
 * @param {readonly import('./figures.mjs').Figure[]} [figures]
 * @returns {readonly Row[]}
 */
export function rows(results, figures = FIGURES) {
  return figures.flatMap((figure) => {
    const cells = single(results).flatMap((contestant) => {
      const found = summary(values(results, figure, contestant.id));
      return found === undefined ? [] : [{ contestant, summary: found }];
    });
    if (cells.length === 0) return [];
    const bestPeer = bestOf(results, figure, 'peer');
    return [{ figure, bestPeer, cells: cells.map((cell) => compared(results, figure, cell, bestPeer)) }];
  });
}

/**
 * @typedef {object} Judgement whether a goal was reached
 * @property {string} title of the figure
 * @property {string} ours label
 * @property {string} against label of the contestant that it is compared with
 * @property {string} bound of the ratio
 * @property {import('./statistics.mjs').Summary} [ratio] absent if one of the two was not measured
 * @property {boolean} [reached] likewise
 */

/**
 * @param {Results} results
 * @returns {readonly Judgement[]} for all goals; empty if none was measured
 */
export function judgements(results) {
  const all = [...GOALS.map((goal) => judged(results, goal)), reloadJudgement(results), sharingJudgement(results)];
  return all.some(({ ratio: found }) => found !== undefined) ? all : [];
}

function judged(results, goal) {
  const figure = FIGURES.find(({ id }) => id === goal.figure);
  const other = goal.against === 'peer' ? bestOf(results, figure, 'peer') : goal.against;
  const found = ratio(values(results, figure, goal.ours), values(results, figure, other));
  return {
    title: figure.title,
    ours: labelOf(results, goal.ours),
    against: other === undefined ? 'best peer' : labelOf(results, other),
    ...verdict(figure.better, goal.bound, found),
  };
}

/** New connections while routes are replaced, compared with the same without changes. */
function reloadJudgement(results) {
  const { quiet, reloading } = results.reload?.[RELOAD_GOAL.ours] ?? {};
  return {
    title: 'Connection while routes are replaced: p99',
    ours: labelOf(results, RELOAD_GOAL.ours),
    against: 'itself without',
    ...verdict('less', RELOAD_GOAL.bound, quiet && ratio([reloading.p99Ms], [quiet.p99Ms])),
  };
}

function sharingJudgement(results) {
  const rate = sharings(results).find(({ many, figure }) => many.id === SHARING_GOAL.ours && figure.load === 'rate');
  return {
    title: 'Connections a second',
    ours: labelOf(results, SHARING_GOAL.ours),
    against: 'room for two workers',
    ...verdict('more', SHARING_GOAL.bound, rate && summary([rate.ratio.median / rate.atMost])),
  };
}

function verdict(better, bound, found) {
  const boundText = `${better === 'more' ? '≥' : '≤'} ${bound}`;
  if (found === undefined) return { bound: boundText };
  return { bound: boundText, ratio: found, reached: better === 'more' ? found.median >= bound : found.median <= bound };
}

function labelOf({ contestants }, id) {
  return contestants.find((contestant) => contestant.id === id)?.label ?? id;
}

/**
 * @typedef {object} Sharing throughput of several workers compared with one
 * @property {Participant} many
 * @property {Participant} one
 * @property {import('./figures.mjs').Figure} figure
 * @property {import('./statistics.mjs').Summary} ratio of many to one
 * @property {number} proxyCores used by one worker
 * @property {number} otherCores used by generator and sinks meanwhile
 * @property {number} cores available for all of these: without those that other programs used
 * @property {number} atMost the ratio at which all cores would be busy, at the same cost per unit of work
 */

/**
 * @param {Results} results
 * @returns {readonly Sharing[]}
 */
export function sharings(results) {
  const several = results.contestants.filter(({ workers = 1 }) => workers > 1);
  return several.flatMap((many) => {
    const one = single(results).find(({ id }) => many.id === `${id}-${many.workers}w`);
    if (one === undefined) return [];
    return SHARED_FIGURES.flatMap((id) => sharing(results, id, one, many));
  });
}

function sharing(results, id, one, many) {
  const figure = FIGURES.find((known) => known.id === id);
  const found = ratio(values(results, figure, many.id), values(results, figure, one.id));
  const [own, all, others] = ['proxyCores', 'allCores', 'othersShare'].map((key) =>
    summary(values(results, { ...figure, key }, one.id)),
  );
  if (found === undefined || own === undefined || all === undefined || others === undefined) return [];
  const cores = results.machine.cores * (1 - others.median);
  const busy = { proxyCores: own.median, otherCores: Math.max(0, all.median - own.median) };
  return [{ many, one, figure, ratio: found, ...busy, cores, atMost: Math.max(1, cores / all.median) }];
}

/**
 * Connections that were refused, cut or without a response, and bulk streams that were stalled for the last second of a
 * round: sum of all rounds.
 *
 * @param {Results} results
 * @returns {readonly { readonly contestant: string, readonly load: string, readonly failed: number, readonly stalled:
 * number }[]}
 */
export function failures(results) {
  return Object.entries({ ...results.samples, ...results.sidecar?.samples }).flatMap(([load, byContestant]) =>
    Object.entries(byContestant).flatMap(([contestant, samples]) => {
      const [failed, stalled] = ['failed', 'stalled'].map((key) =>
        samples.reduce((sum, sample) => sum + (sample?.[key] ?? 0), 0),
      );
      return failed + stalled === 0 ? [] : [{ contestant, load, failed, stalled }];
    }),
  );
}

/**
 * Share of the machine's CPU that other programs used meanwhile, from 0 to 1: the median of all samples.
 *
 * @param {Results} results
 * @returns {number | undefined} `undefined` without samples
 */
export function othersShare({ samples, sidecar }) {
  const all = Object.values({ ...samples, ...sidecar?.samples }).flatMap((byContestant) =>
    Object.values(byContestant).flat(),
  );
  return summary(all.map((sample) => sample?.othersShare))?.median;
}

/**
 * @typedef {object} Added latency that a path through the mesh adds to a round trip
 * @property {Participant} path
 * @property {number} p50Ms median of the rounds' differences from the direct path
 * @property {number} p99Ms likewise
 */

/**
 * @param {NonNullable<Results['sidecar']>} sidecar
 * @returns {readonly Added[]} on a single connection
 */
export function added({ contestants, samples }) {
  const { direct = [], ...others } = samples['way-latency'] ?? {};
  return contestants.flatMap((path) => {
    const [p50, p99] = ['p50Ms', 'p99Ms'].map((key) =>
      summary((others[path.id] ?? []).map((sample, round) => differenceOf(sample?.[key], direct[round]?.[key]))),
    );
    return p50 === undefined || p99 === undefined ? [] : [{ path, p50Ms: p50.median, p99Ms: p99.median }];
  });
}

function differenceOf(value, base) {
  return value === undefined || base === undefined ? undefined : value - base;
}

/**
 * A value of a figure with its unit.
 *
 * @param {import('./figures.mjs').Figure} figure
 * @param {number} value
 * @returns {string}
 */
export function format(figure, value) {
  return value.toLocaleString('en-US', { minimumFractionDigits: figure.digits, maximumFractionDigits: figure.digits });
}

function compared(results, figure, cell, bestPeer) {
  const { id, family } = cell.contestant;
  if (bestPeer === undefined || family === 'peer') return cell;
  const found = ratio(values(results, figure, id), values(results, figure, bestPeer));
  return found === undefined ? cell : { ...cell, toBestPeer: found };
}

function bestOf(results, figure, family) {
  const samples = results.contestants
    .filter((contestant) => contestant.family === family)
    .map(({ id }) => [id, values(results, figure, id)]);
  return best(new Map(samples), figure.better);
}

/** @returns {readonly (number | undefined)[]} one per round */
function values(results, { load, key }, contestant) {
  return (results.samples[load]?.[contestant] ?? []).map((sample) => sample?.[key]);
}
