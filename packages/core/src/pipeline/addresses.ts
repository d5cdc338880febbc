import { lookup, Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import { pause } from '../watch/backoff.ts';
import { unixPath } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import { ProxyError } from '../errors.ts';
import type { Observer } from '../observe.ts';

/** One answer of the name system. */
export interface Resolution {
  /** IPv4 and IPv6 addresses; at least one. */
  readonly hosts: readonly string[];
  /** How long it may be used, in seconds. */
  readonly ttlSeconds: number;
}

/** Asks the name system. Rejects when the name has no address, or nobody answers. */
export type Resolve = (host: string) => Promise<Resolution>;

// Names from the hosts file, or from a resolver that tells no TTL. Envoy re-resolves every 5 s, Consul's own default is 10 s.
const DEFAULT_TTL_SECONDS = 10;

/**
 * A and AAAA records with their TTL; when there are none, the system's own resolver, which also knows the hosts file and search
 * domains, but no TTL.
 */
export function systemResolve(servers?: readonly string[]): Resolve {
  // Two tries of two seconds: a dead name server must not use up a dial's whole time.
  const resolver = new Resolver({ timeout: 2_000, tries: 2 });
  if (servers !== undefined) resolver.setServers(servers);
  return async (host) => {
    const answers = await Promise.allSettled([
      resolver.resolve4(host, { ttl: true }),
      resolver.resolve6(host, { ttl: true }),
    ]);
    const records = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    if (records.length === 0) return systemLookup(host);
    return { hosts: records.map(({ address }) => address), ttlSeconds: Math.min(...records.map(({ ttl }) => ttl)) };
  };
}

async function systemLookup(host: string): Promise<Resolution> {
  const records = await lookup(host, { all: true });
  return { hosts: [...new Set(records.map(({ address }) => address))], ttlSeconds: DEFAULT_TTL_SECONDS };
}

// A TTL of 0 would mean a query for each connection, one of days that a moved service is never found again.
const MIN_TTL_SECONDS = 1;
const MAX_TTL_SECONDS = 300;
// After a failure: soon again, but not with each connection.
const RETRY_SECONDS = 2;
// Rather an address that was right until now than a client that waits for a slow name server.
const STALE_PATIENCE_MS = 250;

interface Entry {
  hosts: readonly string[];
  freshUntil: number;
  turn: number;
  asking: Promise<void> | undefined;
}

/**
 * The addresses behind backends' host names. All addresses of a name are used, each connection beginning with the next one;
 * a name is asked again when its TTL is over; when asking fails, the last good answer goes on being used.
 */
export class AddressBook {
  readonly #resolve: Resolve;
  readonly #observer: Observer;
  readonly #entries = new Map<string, Entry>();

  constructor(observer: Observer, resolve: Resolve = systemResolve()) {
    this.#observer = observer;
    this.#resolve = resolve;
  }

  /**
   * Where to dial for `endpoint`, in the order to try: one address for an IP or a unix socket, at once; all of a name's, rotated.
   * Rejects with `CONNECT_FAILED` when the name has never been resolved and cannot be now.
   */
  find(endpoint: Endpoint): readonly Endpoint[] | Promise<readonly Endpoint[]> {
    if (isIP(endpoint.host) !== 0 || unixPath(endpoint) !== undefined) return [endpoint];
    const entry = this.#entry(endpoint.host);
    if (performance.now() < entry.freshUntil) return rotated(entry, endpoint);
    const asking = this.#refresh(endpoint.host, entry);
    const answered = entry.hosts.length === 0 ? asking : answeredWithin(asking, STALE_PATIENCE_MS);
    return answered.then(() => rotated(entry, endpoint));
  }

  /** One question at a time for each name, however many connections wait for its answer. */
  #refresh(host: string, entry: Entry): Promise<void> {
    entry.asking ??= this.#ask(host, entry).finally(() => {
      entry.asking = undefined;
    });
    return entry.asking;
  }

  #entry(host: string): Entry {
    const known = this.#entries.get(host);
    if (known !== undefined) return known;
    const entry: Entry = { hosts: [], freshUntil: 0, turn: 0, asking: undefined };
    this.#entries.set(host, entry);
    return entry;
  }

  async #ask(host: string, entry: Entry): Promise<void> {
    let seconds = RETRY_SECONDS;
    try {
      const { hosts, ttlSeconds } = await this.#resolve(host);
      entry.hosts = hosts;
      seconds = Math.min(MAX_TTL_SECONDS, Math.max(MIN_TTL_SECONDS, ttlSeconds));
    } catch (reason) {
      const error = reason instanceof Error ? reason : new Error(String(reason));
      this.#observer.observe({ type: 'resolution.failed', host, error, lastGood: entry.hosts.length > 0 });
      if (entry.hosts.length === 0) {
        this.#entries.delete(host);
        throw new ProxyError('CONNECT_FAILED', `no address for ${host}: ${error.message}`, { cause: reason });
      }
    }
    entry.freshUntil = performance.now() + seconds * 1_000;
  }
}

/** Resolves when `asking` does, or with the last good answer in hand, when it takes too long. */
async function answeredWithin(asking: Promise<void>, ms: number): Promise<void> {
  const over = new AbortController();
  await Promise.race([asking, pause(ms, over.signal)]);
  over.abort();
}

function rotated(entry: Entry, { port }: Endpoint): readonly Endpoint[] {
  const { hosts } = entry;
  const start = entry.turn % hosts.length;
  entry.turn += 1;
  return [...hosts.slice(start), ...hosts.slice(0, start)].map((host) => ({ host, port }));
}
