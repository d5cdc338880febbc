// What the samples say: each figure for each contestant, and how ours compare. Pure.
import { FIGURES, GOALS } from './figures.mjs';
import { best, ratio, summary } from './statistics.mjs';

/**
 * @typedef {object} Results what a run has found, as it is written to latest.json
 * @property {string} date
 * @property {import('./machine.mjs').Machine} machine
 * @property {{ readonly rounds: number, readonly seconds: number }} settings
 * @property {readonly Participant[]} contestants
 * @property {readonly { readonly id: string, readonly label: string, readonly why: string }[]} missing
 * @property {Readonly<Record<string, Readonly<Record<string, readonly (import('./sampling.mjs').Sample | null)[]>>>>} samples
 *   by load, then by contestant, one a round; `null` where it failed
 * @property {Readonly<Record<string, Readonly<Record<string, number>>>>} [micro]
 * @property {Readonly<Record<string, import('./reload.mjs').Reload>>} [reload] by contestant
 *
 * @typedef {Pick<import('./contestants.mjs').Contestant, 'id' | 'label' | 'family' | 'transport' | 'workers'> & { readonly version: string }} Participant
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
 * @property {number} [toBestPeer] ratio of ours, or of a tuned peer, to the best peer
 */

/**
 * @param {Results} results
 * @returns {readonly Row[]}
 */
export function rows(results) {
  return FIGURES.flatMap((figure) => {
    const cells = results.contestants.flatMap((contestant) => {
      const found = summary(values(results, figure, contestant.id));
      return found === undefined ? [] : [{ contestant, summary: found }];
    });
    if (cells.length === 0) return [];
    const bestPeer = bestOf(results, figure, 'peer');
    return [{ figure, bestPeer, cells: cells.map((cell) => compared(results, figure, cell, bestPeer)) }];
  });
}

/**
 * @typedef {object} Judgement how a goal was met
 * @property {import('./figures.mjs').Goal} goal
 * @property {import('./figures.mjs').Figure} figure
 * @property {Participant} ours
 * @property {string} against label of what it was compared with
 * @property {number} ratio
 * @property {boolean} met
 */

/**
 * @param {Results} results
 * @returns {readonly Judgement[]} of the goals for which there is something to compare
 */
export function judgements(results) {
  return GOALS.flatMap((goal) => {
    const figure = FIGURES.find(({ id }) => id === goal.figure);
    const ours = results.contestants.find(
      ({ family, transport, workers }) => family === 'ours' && transport === goal.transport && workers === 1,
    );
    const other = goal.against === 'peer' ? bestOf(results, figure, 'peer') : goal.against;
    const against = results.contestants.find(({ id }) => id === other);
    if (ours === undefined || against === undefined) return [];
    const found = ratio(values(results, figure, ours.id), values(results, figure, against.id));
    if (found === undefined) return [];
    const met = figure.better === 'more' ? found >= goal.bound : found <= goal.bound;
    return [{ goal, figure, ours, against: against.label, ratio: found, met }];
  });
}

/**
 * Connections that were refused, cut or left without an answer, and bulk streams that stood still for the last second of a
 * round: all rounds together.
 *
 * @param {Results} results
 * @returns {readonly { readonly contestant: string, readonly load: string, readonly failed: number, readonly stalled: number }[]}
 */
export function failures(results) {
  return Object.entries(results.samples).flatMap(([load, byContestant]) =>
    Object.entries(byContestant).flatMap(([contestant, samples]) => {
      const [failed, stalled] = ['failed', 'stalled'].map((key) =>
        samples.reduce((sum, sample) => sum + (sample?.[key] ?? 0), 0),
      );
      return failed + stalled === 0 ? [] : [{ contestant, load, failed, stalled }];
    }),
  );
}

/**
 * How much of the machine's CPU others used meanwhile, from 0 to 1: the median of all samples.
 *
 * @param {Results} results
 * @returns {number | undefined} `undefined` when nothing was sampled
 */
export function othersShare({ samples }) {
  const all = Object.values(samples).flatMap((byContestant) => Object.values(byContestant).flat());
  return summary(all.map((sample) => sample?.othersShare))?.median;
}

/**
 * A number of a figure with its unit.
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

/** @returns {readonly (number | undefined)[]} one a round */
function values(results, { load, key }, contestant) {
  return (results.samples[load]?.[contestant] ?? []).map((sample) => sample?.[key]);
}
