// The findings as text, the same on a terminal and on the page. Pure.
import { added, judgements, sharings } from './comparison.mjs';
import { spread, times } from './table.mjs';

/**
 * @param {import('./comparison.mjs').Results} results
 * @returns {readonly (readonly string[])[]} a line for each goal, and for figures without a goal, after the header.
 * Empty without any.
 */
export function goalLines(results) {
  const goals = judgements(results).map(({ title, ours, against, bound, ratio, reached }) => [
    title,
    ours,
    against,
    bound,
    ...(ratio === undefined
      ? ['–', '', 'not measured']
      : [times(ratio.median), spread(ratio), reached ? 'reached' : 'not reached']),
  ]);
  const reported = sharings(results).map(({ many, one, figure, ratio }) => [
    figure.title,
    many.label,
    one.label,
    'reported',
    times(ratio.median),
    spread(ratio),
    '',
  ]);
  const lines = [...goals, ...reported];
  return lines.length === 0 ? [] : [['figure', 'ours', 'against', 'goal', 'ratio', 'rounds', ''], ...lines];
}

/**
 * Why several workers do not scale linearly.
 *
 * @param {import('./comparison.mjs').Results} results
 * @returns {readonly string[]} one sentence per figure
 */
export function sharingLines(results) {
  return sharings(results).map(
    ({ many, figure, ratio, proxyCores, otherCores, cores, atMost }) =>
      `${many.label}, ${lower(figure.title)}: ${times(ratio.median)} of one worker. With one, the proxy keeps ${proxyCores.toFixed(2)} and ` +
      `generator and sinks ${otherCores.toFixed(2)} of ${cores.toFixed(2)} cores busy: there is room for ${times(atMost)}, ` +
      `${reasonOf(ratio.median, atMost)}.`,
  );
}

// Within the precision of a sample of a second or two.
const TOLERANCE = 0.05;

function reasonOf(ratio, atMost) {
  if (ratio > atMost + TOLERANCE) return 'and each one takes less of their time with two';
  if (ratio < atMost - TOLERANCE) return 'and the rest goes into sharing them';
  return 'and that is what is missing to the number of workers';
}

/**
 * @param {NonNullable<import('./comparison.mjs').Results['sidecar']>} sidecar
 * @returns {readonly string[]} one sentence per path
 */
export function addedLines(sidecar) {
  return added(sidecar).map(
    ({ path, p50Ms, p99Ms }) =>
      `Added to 1 KiB there and back by ${path.label}: ${p50Ms.toFixed(3)} ms at p50, ${p99Ms.toFixed(3)} ms at p99.`,
  );
}

function lower(title) {
  return title[0].toLowerCase() + title.slice(1);
}
