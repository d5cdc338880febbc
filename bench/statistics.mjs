// Figures from samples. Pure.

/**
 * @typedef {object} Summary
 * @property {number} median
 * @property {number} min
 * @property {number} max
 */

/**
 * The median of `values`: with an even number, the mean of the two in the middle.
 *
 * @param {readonly number[]} values at least one
 * @returns {number}
 */
export function median(values) {
  if (values.length === 0) throw new RangeError('expected at least one value, found none');
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[sorted.length >> 1];
  return sorted.length % 2 === 1 ? upper : (sorted[sorted.length / 2 - 1] + upper) / 2;
}

/**
 * @param {readonly (number | undefined)[]} values one per round, `undefined` where a round has failed
 * @returns {Summary | undefined} of the others
 */
export function summary(values) {
  const known = values.filter((value) => value !== undefined);
  if (known.length === 0) return undefined;
  return { median: median(known), min: Math.min(...known), max: Math.max(...known) };
}

/**
 * How `ours` compares with `theirs`: the median of the ratios of equal rounds. A machine that is slower for a while is
 * slower for both, so that ratios within a round are more precise than a ratio of medians.
 *
 * @param {readonly (number | undefined)[]} ours
 * @param {readonly (number | undefined)[]} theirs
 * @returns {Summary | undefined} with the range of the rounds; `undefined` if no round has both
 */
export function ratio(ours, theirs) {
  const ratios = ours.flatMap((value, round) => {
    const other = theirs[round];
    return value === undefined || other === undefined || other === 0 ? [] : [value / other];
  });
  return summary(ratios);
}

/**
 * The order of a round: forwards, then backwards, then forwards again, so that a drift of the machine favours none.
 *
 * @template T
 * @param {readonly T[]} items
 * @param {number} round counted from 0
 * @returns {readonly T[]}
 */
export function orderOfRound(items, round) {
  return round % 2 === 0 ? items : items.toReversed();
}

/**
 * The one with the best median.
 *
 * @param {ReadonlyMap<string, readonly (number | undefined)[]>} samples by name
 * @param {'more' | 'less'} better
 * @returns {string | undefined} `undefined` if none has a value
 */
export function best(samples, better) {
  let leader;
  for (const [name, values] of samples) {
    const found = summary(values);
    if (found === undefined) continue;
    const ahead =
      leader === undefined || (better === 'more' ? found.median > leader.value : found.median < leader.value);
    if (ahead) leader = { name, value: found.median };
  }
  return leader?.name;
}
