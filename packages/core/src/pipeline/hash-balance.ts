import type { Backend } from '../routes/route.ts';
import { memoized } from '../memo.ts';
import { addressKey } from './loads.ts';
import type { BalancedClient, Picker, PickerOptions } from './picker.ts';
import { mixed, readAddress, WORDS } from './ip-address.ts';

/**
 * Maps all connections of a client to one backend. A client is an IPv4 address or an IPv6 /64, within which a machine
 * changes its address for privacy (RFC 8981). All processes and gateways with the same backends map alike.
 */
export function clientHash(options: PickerOptions): Picker {
  const words = new Uint32Array(WORDS);
  return hashed(options, ({ connection: { remote } }) => {
    const family = readAddress(remote.host, words);
    // Unix sockets have no addresses: all of their clients count as one.
    if (family === 0) return hashOf(remote.host);
    const [a = 0, b = 0, , d = 0] = words;
    return family === 4 ? mixed(d) : mixed(mixed(a) ^ b);
  });
}

/** Maps all connections for a server name to one backend. */
export function nameHash(options: PickerOptions): Picker {
  return hashed(options, ({ hello }) => hashOf(hello.serverName ?? ''));
}

/** A backend may exceed its share by a quarter: the usual factor of consistent hashing with bounded loads. */
const LOAD_FACTOR = 1.25;
/**
 * A load that overloads no backend; without this bound, the second connection of the first client would go elsewhere.
 */
const ALWAYS_ALLOWED = 8;

/**
 * Weighted rendezvous hashing (Thaler and Ravishankar, 1998) with bounded loads (Mirrokni, Thorup and Zadimoghaddam,
 * 2016): the backend with the highest score for the key wins, unless it exceeds its share; then the next one. A score
 * depends on one backend alone, so that adding or removing a backend only moves that backend's share of the keys.
 */
function hashed({ load }: PickerOptions, keyOf: (client: BalancedClient) => number): Picker {
  const seedOf = memoized((backend: Backend) => hashOf(addressKey(backend)));
  return { pick };

  function pick(from: readonly Backend[], client: BalancedClient): Backend {
    const key = keyOf(client);
    const best = highest(from, key);
    if (load(best) < ALWAYS_ALLOWED) return best;
    const fits = bound(from);
    if (fits(best)) return best;
    return highest(from.filter(fits), key);
  }

  function highest(from: readonly Backend[], key: number): Backend {
    let chosen: Backend | undefined;
    let most = -Infinity;
    for (const backend of from) {
      const score = backend.weight / -Math.log(unit(mixed(seedOf(backend) ^ key)));
      if (chosen !== undefined && score <= most) continue;
      chosen = backend;
      most = score;
    }
    if (chosen === undefined) throw new RangeError('expected at least one backend to choose from, found none');
    return chosen;
  }

  /** Returns a test of whether a backend may take one more connection. At least one backend always may. */
  function bound(from: readonly Backend[]): (backend: Backend) => boolean {
    let [connections, weights] = [1, 0];
    for (const backend of from) {
      connections += load(backend);
      weights += backend.weight;
    }
    const perWeight = (LOAD_FACTOR * connections) / weights;
    return (backend) => load(backend) < Math.max(ALWAYS_ALLOWED, Math.ceil(perWeight * backend.weight));
  }
}

/** FNV-1a, finished by {@link mixed}: the same in every process. */
function hashOf(text: string): number {
  let hash = 0x81_1c_9d_c5;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01_00_01_93);
  return mixed(hash);
}

/** Maps a 32-bit hash to (0, 1). */
function unit(hash: number): number {
  return ((hash >>> 0) + 0.5) / 0x1_00_00_00_00;
}
