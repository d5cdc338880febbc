import type { CatalogService, Instance, Resolver, Selection, Subset } from '@meshgate/mesh';
import { AgentError, parsed } from './agent.ts';
import type { Agent, Answer } from './agent.ts';
import { digestsOf } from './inventory.ts';
import type { Inventory, Listed } from './inventory.ts';
import { instancesOf } from './records.ts';

/** What decides which services are asked for, and which subsets of them. */
export interface Registered {
  readonly inventory: Inventory;
  readonly resolvers: ReadonlyMap<string, Resolver>;
  readonly links: ReadonlyMap<string, readonly string[]>;
  /** Raft index of the inventory. */
  readonly index: number;
}

/**
 * The Connect health of every service of the datacenter, kept up to date in rounds: each asks again only for the services that
 * have changed since the last one, over few sockets. One question for a service, and one more for each of its subsets, since
 * Consul itself evaluates the filters.
 */
export class ServiceAnswers {
  readonly #agent: Agent;
  #known: ReadonlyMap<string, Known> = new Map();
  #services: readonly CatalogService[] = [];

  constructor(agent: Agent) {
    this.#agent = agent;
  }

  /** The services as of the last round, in no particular order: the same list as before when none has changed. */
  get services(): readonly CatalogService[] {
    return this.#services;
  }

  /** The agent said that it left instances out, for want of permission. */
  get filtered(): boolean {
    return Array.from(this.#known.values()).some(({ filtered }) => filtered);
  }

  /**
   * Every answer belongs to the inventory that it was asked for by. Otherwise something has changed since, and may be taken back
   * before the inventory is seen again, with the digests that it had: so it is asked for once more, {@link SETTLE_MS} later.
   */
  get settled(): boolean {
    return Array.from(this.#known.values()).every(({ againAt }) => againAt === undefined);
  }

  /** Everything is asked for anew in the next round, changed or not; what is known stays until then. */
  doubt(): void {
    this.#known = new Map(Array.from(this.#known, ([key, known]) => [key, { ...known, digest: undefined }]));
  }

  /**
   * One round. Rejects when the agent fails; what was known before is then kept whole.
   *
   * @param now monotonic milliseconds
   */
  async refresh({ inventory, resolvers, links, index }: Registered, now: number, signal: AbortSignal): Promise<void> {
    const digests = digestsOf(inventory, links);
    const next = new Map<string, Known>();
    const changed: (readonly [key: string, listed: Listed, resolver: Resolver | undefined])[] = [];
    for (const [key, listed] of inventory.services) {
      const digest = digests.get(key);
      const resolver = resolvers.get(key);
      // Nothing speaks Connect for it: its answer would be empty.
      if (digest === '') continue;
      const known = this.#known.get(key);
      if (known !== undefined && isCurrent(known, { digest, resolver: JSON.stringify(resolver), now }))
        next.set(key, known);
      else changed.push([key, listed, resolver]);
    }
    await inParallel(changed, AT_A_TIME, async ([key, listed, resolver]) => {
      const answer = await this.#ask(listed, resolver, signal);
      const before = this.#known.get(key);
      // Or it is the same as a while ago: nothing was taken back.
      const settled = answer.index <= index || (answer.index === before?.index && isDue(before, now));
      const againAt = settled ? undefined : now + SETTLE_MS;
      const asked = { digest: digests.get(key), resolver: JSON.stringify(resolver), againAt };
      next.set(key, { ...answer, ...asked, service: same(before?.service, answer.service) });
    });
    this.#known = next;
    const services = new Set(Array.from(next.values(), ({ service }) => service));
    const isSame = services.size === this.#services.length && this.#services.every((service) => services.has(service));
    if (!isSame) this.#services = [...services];
  }

  async #ask(
    { name, namespace }: Listed,
    resolver: Resolver | undefined,
    signal: AbortSignal,
  ): Promise<Pick<Known, 'service' | 'filtered' | 'index'>> {
    const path = `health/connect/${encodeURIComponent(name)}`;
    const scope = namespace === '' ? {} : { ns: namespace };
    const answer = await this.#agent.ask({ path, query: scope }, signal);
    const instances = instancesIn(answer, path);
    const subsets = instances.length === 0 ? [] : Object.entries(resolver?.subsets ?? {});
    const selections = subsets.map(async ([subset, definition]) => {
      const select = (filter: string): Promise<Answer> =>
        this.#agent.ask({ path, query: { ...scope, filter } }, signal);
      return [subset, await selectionOf(definition, instances, path, select)] as const;
    });
    const service = {
      name,
      ...(namespace === '' ? {} : { namespace }),
      instances,
      ...(resolver === undefined ? {} : { resolver }),
      selections: Object.fromEntries(await Promise.all(selections)),
    };
    return { service, filtered: answer.filtered, index: answer.index ?? 0 };
  }
}

interface Known {
  /** `undefined`: to be asked for again. */
  readonly digest: string | undefined;
  readonly resolver: string | undefined;
  readonly filtered: boolean;
  /** Raft index of the answer: that of the last change which concerns this service. */
  readonly index: number;
  /** When to ask once more whatever the digest is, in monotonic milliseconds; `undefined`: never. */
  readonly againAt: number | undefined;
  readonly service: CatalogService;
}

// More connections make the sweep of thousands of services no faster, and less room for everything else.
const AT_A_TIME = 12;

/** Longer than the coarse query of a large datacenter takes to show a change. */
export const SETTLE_MS = 1_000;

function isCurrent(known: Known, present: Pick<Known, 'digest' | 'resolver'> & { readonly now: number }): boolean {
  const { digest, resolver, now } = present;
  return digest !== undefined && known.digest === digest && known.resolver === resolver && !isDue(known, now);
}

function isDue({ againAt }: Known, now: number): boolean {
  return againAt !== undefined && now >= againAt;
}

/** The object that is known already, when it says the same: whoever derives from it can tell by identity that nothing changed. */
function same(before: CatalogService | undefined, now: CatalogService): CatalogService {
  return before !== undefined && JSON.stringify(before) === JSON.stringify(now) ? before : now;
}

function instancesIn(answer: Answer, path: string): readonly Instance[] {
  return parsed(answer, path, 'a list of instances', instancesOf);
}

async function selectionOf(
  { filter }: Subset,
  instances: readonly Instance[],
  path: string,
  select: (filter: string) => Promise<Answer>,
): Promise<Selection> {
  if (filter === '') return { kind: 'selected', instances };
  try {
    return { kind: 'selected', instances: instancesIn(await select(filter), path) };
  } catch (reason) {
    if (!isRefusedFilter(reason)) throw reason;
    return { kind: 'refused', reason: reason.complaint };
  }
}

/** Consul accepts any text as a filter and says only here, with 400 or 500 by version, that it cannot be evaluated. */
function isRefusedFilter(reason: unknown): reason is AgentError {
  if (!(reason instanceof AgentError) || (reason.status !== 400 && reason.status !== 500)) return false;
  return /boolean expression|selector|filter/i.test(reason.complaint);
}

/** Runs `work` over `items`, so many at a time; the first failure is thrown when none is under way any more. */
async function inParallel<T>(items: readonly T[], atATime: number, work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  const worker = async (): Promise<void> => {
    for (const item of queue) await work(item);
  };
  const ends = await Promise.allSettled(Array.from({ length: Math.min(atATime, items.length) }, worker));
  const failed = ends.find((end) => end.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}
