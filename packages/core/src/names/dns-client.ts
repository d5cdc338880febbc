import { Resolver } from 'node:dns/promises';
import type { ResolvConf } from './resolv-conf.ts';
import { ResolutionError } from './resolution.ts';
import type { Resolution } from './resolution.ts';
import { settlesWithin } from '../watch/scope.ts';

type AddressFamily = 4 | 6;

/** Answer for one address family of a name. */
type FamilyAnswer =
  | {
      readonly kind: 'addresses';
      readonly family: AddressFamily;
      readonly hosts: readonly string[];
      readonly ttlSeconds: number;
    }
  /** The name exists but has no address of this family. */
  | { readonly kind: 'none'; readonly family: AddressFamily }
  | { readonly kind: 'absent'; readonly family: AddressFamily }
  | { readonly kind: 'unavailable'; readonly family: AddressFamily; readonly code: string };

// How long the first answer waits for that of the other family (RFC 8305, section 3).
const RESOLUTION_DELAY_MS = 50;
// How long a server is listened to after a query: as long as the C library waits for one. A server that has to ask others
// may take seconds.
const LISTEN_MS = 5_000;
// After three responses, c-ares cuts a resolver's timeout to five times their average, at least 250 ms: a name that has
// to be fetched from afar would seem to have no response. (ares_metrics.c, MIN_COUNT_FOR_AVERAGE.)
const QUERIES_OF_A_RESOLVER = 2;
// A middlebox that drops AAAA queries does so until it is repaired.
const SILENCE_REMEMBERED_MS = 300_000;

/** Queries the name servers of a resolv.conf, with its search domains. */
export class DnsClient {
  readonly #conf: ResolvConf;
  readonly #servers: readonly QueriedServer[];
  /** Index of the server to query first: the last one that answered. */
  #preferred = 0;
  /** Time until which the answers of a silent family are not waited for. */
  readonly #silentUntil: Record<AddressFamily, number> = { 4: 0, 6: 0 };

  constructor(conf: ResolvConf) {
    this.#conf = conf;
    this.#servers = conf.servers.map((server) => new QueriedServer(server));
  }

  /** Whether there is a server that this client can query. */
  get hasServers(): boolean {
    return this.#servers.length > 0;
  }

  /** Resolves `host` as it is and with search domains, ordered by `ndots`. Rejects with a `ResolutionError`. */
  async resolve(host: string): Promise<Resolution> {
    let trouble: ResolutionError | undefined;
    let absence: ResolutionError | undefined;
    for (const name of this.#candidates(host)) {
      try {
        return await this.#resolveName(name);
      } catch (reason) {
        if (!(reason instanceof ResolutionError)) throw reason;
        if (reason.kind === 'absent') {
          // A name that exists is the one that was meant, rather than one with a search domain.
          if (absence?.message !== this.#withoutAddress) absence = reason;
          continue;
        }
        trouble ??= reason;
        // A server that responds with an error may know the next name; waiting for a silent one would use up the time.
        if (!ANSWERED_WITHOUT_AN_ANSWER.has(codeOf(reason.cause))) break;
      }
    }
    throw trouble ?? absence ?? new ResolutionError('absent', this.#withoutAddress);
  }

  #candidates(host: string): readonly string[] {
    if (host.endsWith('.')) return [host.slice(0, -1)];
    const searched = this.#conf.search.map((domain) => `${host}.${domain}`);
    const dots = host.split('.').length - 1;
    return dots >= this.#conf.ndots ? [host, ...searched] : [...searched, host];
  }

  /** Queries both families concurrently; the first answer waits a moment for the other. */
  async #resolveName(name: string): Promise<Resolution> {
    const four = this.#query(name, 4);
    const six = this.#query(name, 6);
    const first = await Promise.race([four, six]);
    const other = first.family === 4 ? six : four;
    const second = await this.#second(first, other);
    if (second !== undefined) return this.#both(first, second);
    if (first.kind !== 'addresses') throw this.#noSuchName();
    return { ...first, rest: other.then((slower) => this.#merged(first, slower)) };
  }

  /** Returns the answer of the other family, or `undefined` if it does not arrive in time. */
  async #second(first: FamilyAnswer, other: Promise<FamilyAnswer>): Promise<FamilyAnswer | undefined> {
    if (first.kind === 'none' || first.kind === 'unavailable') return other;
    const family = first.family === 4 ? 6 : 4;
    if (performance.now() < this.#silentUntil[family]) return undefined;
    return (await settlesWithin(other, RESOLUTION_DELAY_MS)) ? other : undefined;
  }

  #merged(first: FamilyAnswer, second: FamilyAnswer): Resolution | undefined {
    this.#silentUntil[second.family] = second.kind === 'unavailable' ? performance.now() + SILENCE_REMEMBERED_MS : 0;
    return second.kind === 'addresses' ? this.#both(first, second) : undefined;
  }

  #both(first: FamilyAnswer, second: FamilyAnswer): Resolution {
    const answers = first.family === 4 ? [first, second] : [second, first];
    const found = answers.flatMap((answer) => (answer.kind === 'addresses' ? [answer] : []));
    if (found.length > 0) {
      const ttlSeconds = Math.min(...found.map((answer) => answer.ttlSeconds));
      return { hosts: found.flatMap(({ hosts }) => hosts), ttlSeconds };
    }
    const trouble = answers.find((answer) => answer.kind === 'unavailable');
    if (trouble?.kind === 'unavailable') throw this.#unavailable(trouble.code);
    if (answers.every(({ kind }) => kind === 'absent')) throw this.#noSuchName();
    throw new ResolutionError('absent', this.#withoutAddress);
  }

  get #withoutAddress(): string {
    return `the name has no address (${this.#serverNames})`;
  }

  #noSuchName(): ResolutionError {
    return new ResolutionError('absent', `no such name (${this.#serverNames})`);
  }

  #unavailable(code: string): ResolutionError {
    const words = TROUBLES[code] ?? code;
    return new ResolutionError('unavailable', `${words} (${this.#serverNames})`, { cause: { code } });
  }

  get #serverNames(): string {
    const { servers, isDefault } = this.#conf;
    return `name server ${servers.join(', ')}${isDefault ? ', as resolv.conf names none' : ''}`;
  }

  /**
   * Queries the servers in turn, for the configured number of attempts, until one has an answer. A server that has not
   * answered in time is still listened to while the next one is queried. Never rejects.
   */
  async #query(name: string, family: AddressFamily): Promise<FamilyAnswer> {
    const { attempts, timeoutMs } = this.#conf;
    const count = this.#servers.length;
    const start = this.#preferred;
    const pending = new Set<Promise<ServerAnswer>>();
    let failure: FamilyAnswer = { kind: 'unavailable', family, code: 'ETIMEOUT' };
    for (let turn = 0; turn < attempts * count; turn += 1) {
      const index = (start + turn) % count;
      const query = this.#servers[index]?.query(name, family).then((answer) => ({ answer, index }));
      if (query !== undefined) pending.add(query);
      const first = await firstAnswer(pending, query, timeoutMs);
      failure = first?.answer ?? { kind: 'unavailable', family, code: 'ETIMEOUT' };
      if (first === undefined || failure.kind === 'unavailable') continue;
      this.#preferred = first.index;
      return failure;
    }
    return failure;
  }
}

/** Answer of the server with this index. */
interface ServerAnswer {
  readonly answer: FamilyAnswer;
  readonly index: number;
}

/**
 * Returns the first answer with a result of any of `pending`, or the failure of `latest`; `undefined` if there is
 * neither within `ms` milliseconds. Removes failures from `pending`.
 */
async function firstAnswer(
  pending: Set<Promise<ServerAnswer>>,
  latest: Promise<ServerAnswer> | undefined,
  ms: number,
): Promise<ServerAnswer | undefined> {
  const until = performance.now() + ms;
  while (pending.size > 0) {
    const first = Promise.race(Array.from(pending, async (query) => ({ query, found: await query })));
    if (!(await settlesWithin(first, until - performance.now()))) return undefined;
    const { query, found } = await first;
    pending.delete(query);
    if (found.answer.kind !== 'unavailable' || query === latest) return found;
  }
  return undefined;
}

/** A name server of a {@link DnsClient}. */
class QueriedServer {
  readonly #address: string;
  #resolver: Resolver | undefined;
  #queries = 0;

  constructor(address: string) {
    this.#address = address;
  }

  /** Sends one query. Never rejects. */
  async query(name: string, family: AddressFamily): Promise<FamilyAnswer> {
    const resolver = this.#nextResolver();
    try {
      const records = await (family === 4
        ? resolver.resolve4(name, { ttl: true })
        : resolver.resolve6(name, { ttl: true }));
      if (records.length === 0) return { kind: 'none', family };
      const hosts = [...new Set(records.map(({ address }) => address))];
      return { kind: 'addresses', family, hosts, ttlSeconds: shortestTtl(records) };
    } catch (reason) {
      return failed(codeOf(reason), family);
    }
  }

  /** Limited to one try: the retries, also on other servers, are those of {@link DnsClient}. */
  #nextResolver(): Resolver {
    if (this.#resolver === undefined || this.#queries >= QUERIES_OF_A_RESOLVER) {
      this.#resolver = new Resolver({ timeout: LISTEN_MS, tries: 1 });
      this.#resolver.setServers([this.#address]);
      this.#queries = 0;
    }
    this.#queries += 1;
    return this.#resolver;
  }
}

/** Returns the lowest TTL. Node reports TTLs for the first 256 records of a response only. */
function shortestTtl(records: readonly { readonly ttl: number | undefined }[]): number {
  return Math.min(...records.flatMap(({ ttl }) => (ttl === undefined ? [] : [ttl])));
}

function failed(code: string, family: AddressFamily): FamilyAnswer {
  if (code === 'ENODATA') return { kind: 'none', family };
  if (code === 'ENOTFOUND' || code === 'EBADNAME') return { kind: 'absent', family };
  return { kind: 'unavailable', family, code };
}

const ANSWERED_WITHOUT_AN_ANSWER: ReadonlySet<string> = new Set([
  'ESERVFAIL',
  'EREFUSED',
  'EFORMERR',
  'ENOTIMP',
  'EBADRESP',
]);

const TROUBLES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  EREFUSED: 'the query was refused (REFUSED)',
  ESERVFAIL: 'the server failed (SERVFAIL)',
  ETIMEOUT: 'no response',
};

function codeOf(reason: unknown): string {
  return typeof reason === 'object' && reason !== null && 'code' in reason ? String(reason.code) : 'EUNKNOWN';
}
