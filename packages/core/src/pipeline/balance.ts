import type { Backend, BuiltInBalance } from '../routes/route.ts';
import { clientHash, nameHash } from './hash-balance.ts';
import type { Picker, PickerOptions } from './picker.ts';

/** Creates a picker with its own state, for one route. */
export function picker(balance: BuiltInBalance, options: PickerOptions): Picker {
  switch (balance) {
    case 'random':
      return { pick: (from) => drawn(from, options.random) };
    case 'least_connections':
      return leastConnections(options);
    case 'client_hash':
      return clientHash(options);
    case 'name_hash':
      return nameHash(options);
    default:
      return roundRobin(options.random);
  }
}

/**
 * Smooth weighted round robin: in each turn, every backend gains its weight as credit; the one with the most credit is
 * selected and pays the sum. Weights 5, 1, 1 give a a b a c a a instead of five a in a row. The initial credit is
 * random, so that many gateways, or one that reloads often, do not all favour the backend listed first.
 */
function roundRobin(random: () => number): Picker {
  const credit = new Map<Backend, number>();
  return { pick };

  function pick(from: readonly Backend[]): Backend {
    const total = sumOfWeights(from);
    let chosen: Backend | undefined;
    let most = -Infinity;
    for (const backend of from) {
      const gained = (credit.get(backend) ?? random() * backend.weight) + backend.weight;
      credit.set(backend, gained);
      if (gained <= most) continue;
      chosen = backend;
      most = gained;
    }
    if (chosen === undefined) throw new RangeError('expected at least one backend to choose from, found none');
    credit.set(chosen, most - total);
    return chosen;
  }
}

/** Power of two choices: of two backends drawn by weight, the one with fewer connections relative to its weight. */
function leastConnections({ load, random }: PickerOptions): Picker {
  return {
    pick(from) {
      const one = drawn(from, random);
      const other = drawn(from, random);
      return load(other) * one.weight < load(one) * other.weight ? other : one;
    },
  };
}

/** Draws one backend at random, by weight. */
export function drawn(from: readonly Backend[], random: () => number): Backend {
  let ticket = random() * sumOfWeights(from);
  for (const backend of from) {
    ticket -= backend.weight;
    if (ticket < 0) return backend;
  }
  const last = from.at(-1);
  if (last === undefined) throw new RangeError('expected at least one backend to choose from, found none');
  return last;
}

function sumOfWeights(backends: readonly Backend[]): number {
  let sum = 0;
  for (const { weight } of backends) sum += weight;
  return sum;
}
