import { median } from '../statistics.mjs';

const WARMUP_MS = 300;
const BATCHES = 15;
const BATCH_MS = 100;

/**
 * Duration of one of the `count` operations in a call of `work`: the median of several batches, after a warm-up.
 *
 * @param {number} count
 * @param {() => void} work
 * @returns {number} nanoseconds
 */
export function nanosecondsEach(count, work) {
  batch(WARMUP_MS, work);
  return median(Array.from({ length: BATCHES }, () => batch(BATCH_MS, work) / count));
}

/** @returns {number} nanoseconds per call */
function batch(ms, work) {
  const start = performance.now();
  let calls = 0;
  let spentMs;
  do {
    work();
    calls += 1;
    spentMs = performance.now() - start;
  } while (spentMs < ms);
  return (spentMs * 1e6) / calls;
}
