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
// A middlebox that drops AAAA queries does so until it is repaired.
const SILENCE_REMEMBERED_MS = 300_000;

/** Queries the name servers of a resolv.conf, with its search domains. */
export class DnsClient {
  readonly #conf: ResolvConf;
  /** One resolver per server. */
  readonly #resolvers: readonly Resolver[];
  /** Index of the server to query first: the last one that answered. */
  #preferred = 0;
  /** Time until which the answers of a silent family are not waited for. */
  readonly #silentUntil: Record<AddressFamily, number> = { 4: 0, 6: 0 };

  constructor(conf: ResolvConf) {
    this.#conf = conf;
    this.#resolvers = conf.servers.map((server) => resolverOf(server, conf));
  }

  /** Whether there is a server that this client can query. */
  get hasServers(): boolean {
    return this.#resolvers.length > 0;
  }

  /** Resolves `host` as it is and with search domains, ordered by `ndots`. Rejects with a `ResolutionError`. */
  async resolve(host: string): Promise<Resolution> {
    let trouble: ResolutionError | undefined;
    for (const name of this.#candidates(host)) {
      try {
        return await this.#resolveName(name);
      } catch (reason) {
        if (!(reason instanceof ResolutionError)) throw reason;
        if (reason.kind === 'absent') continue;
        trouble ??= reason;
        // A server that responds with an error may know the next name; waiting for a silent one would use up the time.
        if (!ANSWERED_WITHOUT_AN_ANSWER.has(codeOf(reason.cause))) break;
      }
    }
    throw trouble ?? new ResolutionError('absent', `the name has no address (${this.#servers})`);
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
    if (first.kind !== 'addresses') throw new ResolutionError('absent', `no such name (${this.#servers})`);
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
    throw new ResolutionError('absent', `the name has no address (${this.#servers})`);
  }

  #unavailable(code: string): ResolutionError {
    const words = TROUBLES[code] ?? code;
    return new ResolutionError('unavailable', `${words} (${this.#servers})`, { cause: { code } });
  }

  get #servers(): string {
    const { servers, isDefault } = this.#conf;
    return `name server ${servers.join(', ')}${isDefault ? ', as resolv.conf names none' : ''}`;
  }

  /** Queries the servers in turn, for the configured number of attempts, until one has an answer. Never rejects. */
  async #query(name: string, family: AddressFamily): Promise<FamilyAnswer> {
    const { attempts } = this.#conf;
    const count = this.#resolvers.length;
    const start = this.#preferred;
    let answer: FamilyAnswer = { kind: 'unavailable', family, code: 'ENODATA' };
    for (let turn = 0; turn < attempts * count; turn += 1) {
      const index = (start + turn) % count;
      answer = await queryServer(this.#resolvers[index], name, family);
      if (answer.kind === 'unavailable') continue;
      this.#preferred = index;
      return answer;
    }
    return answer;
  }
}

/** Limited to one server and one try: the retries on other servers are done here. */
function resolverOf(server: string, { timeoutMs }: ResolvConf): Resolver {
  const resolver = new Resolver({ timeout: timeoutMs, tries: 1 });
  resolver.setServers([server]);
  return resolver;
}

/** Never rejects. */
async function queryServer(resolver: Resolver | undefined, name: string, family: AddressFamily): Promise<FamilyAnswer> {
  try {
    const records = await (family === 4
      ? resolver?.resolve4(name, { ttl: true })
      : resolver?.resolve6(name, { ttl: true }));
    if (records === undefined || records.length === 0) return { kind: 'none', family };
    const hosts = [...new Set(records.map(({ address }) => address))];
    return { kind: 'addresses', family, hosts, ttlSeconds: shortestTtl(records) };
  } catch (reason) {
    return failed(codeOf(reason), family);
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
