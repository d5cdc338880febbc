// The expected duration of a run on an idle machine. Pure.
import { LOADS } from './figures.mjs';
import { PATH_LOADS, PATHS } from './sidecar/figures.mjs';

// Measured: overhead per sample, and the duration of parts that have no setting.
const SAMPLE_SECONDS = 0.2;
const WARMUP_SECONDS = 3;
const IDLE_SECONDS = 7;
const RELOAD_SECONDS = 17;
const PATH_SAMPLE_SECONDS = 0.8;
const MESH_SECONDS = 20;
const MICRO_SECONDS = 30;

/** Memory does not depend on the speed of the machine: more rounds add nothing. */
export const MOST_IDLE_ROUNDS = 2;

/**
 * @param {readonly { readonly family: string, readonly loads?: readonly string[] }[]} contestants
 * @param {{ readonly loads: readonly string[], readonly micro: boolean, readonly settings: { readonly rounds: number, readonly seconds: number } }} options
 * @returns {number} seconds
 */
export function expectedSeconds(contestants, { loads, micro, settings: { rounds, seconds } }) {
  const timed = LOADS.filter(({ id }) => loads.includes(id));
  const samples = contestants.reduce((sum, one) => sum + timed.filter(({ id }) => takes(one, id)).length, 0);
  const idle = contestants.filter((contestant) => takes(contestant, 'idle'));
  const reloaded = contestants.filter((contestant) => contestant.family === 'ours' && takes(contestant, 'reload'));
  const parts = {
    warmup: timed.length > 0 ? contestants.length * WARMUP_SECONDS : 0,
    samples: samples * rounds * (seconds + SAMPLE_SECONDS),
    idle: loads.includes('idle') ? idle.length * Math.min(rounds, MOST_IDLE_ROUNDS) * IDLE_SECONDS : 0,
    reload: loads.includes('reload') ? reloaded.length * RELOAD_SECONDS : 0,
    sidecar: loads.includes('sidecar')
      ? MESH_SECONDS + PATHS.length * PATH_LOADS.length * rounds * (seconds + PATH_SAMPLE_SECONDS)
      : 0,
    micro: micro ? MICRO_SECONDS : 0,
  };
  return Object.values(parts).reduce((sum, part) => sum + part, 0);
}

/**
 * @param {{ readonly loads?: readonly string[] }} contestant
 * @param {string} load
 * @returns {boolean} whether it takes part in it
 */
export function takes({ loads }, load) {
  return loads?.includes(load) ?? true;
}
