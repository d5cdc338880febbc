import { errorOf, QuerySet } from '@meshgate/core/parts';
import type { Query } from '@meshgate/core/parts';
import type { CatalogService, Instance, GatewayResolver, Selection, Subset } from '@meshgate/mesh';
import { AgentError, FREE_TEXT, isOverload, parsed, reasonOf } from './agent.ts';
import type { Agent, AgentResponse } from './agent.ts';
import { digestsOf } from './inventory.ts';
import type { Inventory, ListedService } from './inventory.ts';
import { instancesOf } from './records.ts';

/** What decides which services are asked about, and which subsets of them. */
export interface Registered {
  readonly inventory: Inventory;
  readonly resolvers: ReadonlyMap<string, GatewayResolver>;
  readonly links: ReadonlyMap<string, readonly string[]>;
  /** Raft index of the inventory. */
  readonly index: number;
}

/**
 * The Connect health of every service of the datacenter: asked about once for each change that concerns it, over few sockets. One query
 * for a service, and one more for each of its subsets, since Consul itself evaluates the filters. A service whose query fails keeps its
 * last answer. What is known outlives the agent that was asked.
 */
export class ServiceHealth {
  readonly #queries: QuerySet<ServiceAnswer>;
  #agent: Agent | undefined;
  #registered: Registered | undefined;
  #requeryAllAt = 0;
  /** Each time that everything is to be asked about anew. */
  #epoch = 0;
  /** Services to be asked about once more, and when, in monotonic milliseconds. */
  readonly #unconfirmed = new Map<string, number>();
  /** How often each was asked about once more. */
  readonly #repeats = new Map<string, number>();

  /** @param changed called whenever an answer has come */
  constructor(changed: () => void) {
    this.#queries = new QuerySet({ changed, atATime: AT_A_TIME, isOverload });
  }

  /** Asks `agent` until `signal` aborts. */
  run(agent: Agent, signal: AbortSignal): void {
    this.#agent = agent;
    this.#registered = undefined;
    this.#queries.run(signal);
  }

  /** Asks nobody any more, and leaves no timer behind. */
  rest(): void {
    this.#queries.rest();
  }

  /** Whether every service has been asked about since the last change: an answer has come, or a failure. */
  get converged(): boolean {
    return this.#queries.converged;
  }

  /** Whether some answer may be newer than the inventory: its service is asked about once more, {@link CONFIRM_MS} after. */
  get confirmed(): boolean {
    return this.#unconfirmed.size === 0;
  }

  /** The services as far as they are known, in no particular order: the same object as before where nothing has been asked. */
  get services(): readonly CatalogService[] {
    return this.#queries.readings.flatMap(({ value }) => (value === undefined ? [] : [value.service]));
  }

  /** The agent said that it left instances out, for want of permission. */
  get filtered(): boolean {
    return this.#queries.readings.some(({ value }) => value?.filtered === true);
  }

  /** Services that cannot be asked about, and why, in words. */
  get rejected(): readonly string[] {
    return this.#queries.readings.flatMap(({ value }) => value?.rejected ?? []);
  }

  /** Why some services keep an older answer, or have none. */
  get failures(): readonly Error[] {
    return this.#queries.readings.flatMap(({ error }) => (error === undefined ? [] : [error]));
  }

  /** Asks about what has changed since the last call. @param now monotonic milliseconds */
  update(registered: Registered, now: number): void {
    const due = [...this.#unconfirmed].filter(([, at]) => now >= at);
    for (const [key] of due) {
      this.#unconfirmed.delete(key);
      this.#repeats.set(key, (this.#repeats.get(key) ?? 0) + 1);
    }
    if (now >= this.#requeryAllAt) {
      if (this.#requeryAllAt > 0) this.#epoch += 1;
      this.#requeryAllAt = now + REQUERY_ALL_MS;
    } else if (due.length === 0 && isSame(registered, this.#registered)) return;
    this.#registered = registered;
    this.#queries.set(this.#wanted(registered));
  }

  #wanted({ inventory, resolvers, links, index }: Registered): ReadonlyMap<string, Query<ServiceAnswer>> {
    const wanted = new Map<string, Query<ServiceAnswer>>();
    for (const [key, digest] of digestsOf(inventory, links)) {
      const listed = inventory.services.get(key);
      // Nothing speaks Connect for it: its answer would be empty.
      if (listed === undefined || digest === '') continue;
      const resolver = resolvers.get(key);
      const parts = [digest, JSON.stringify(resolver), this.#epoch, this.#repeats.get(key)];
      wanted.set(key, {
        stamp: digest === undefined ? undefined : parts.join(' '),
        send: (signal) => this.#query(key, { listed, resolver, index }, signal),
      });
    }
    for (const key of this.#repeats.keys()) if (!wanted.has(key)) this.#repeats.delete(key);
    for (const key of this.#unconfirmed.keys()) if (!wanted.has(key)) this.#unconfirmed.delete(key);
    return wanted;
  }

  /**
   * An answer that is newer than the inventory belongs to a change that may be taken back before the inventory is seen again, with the
   * digests that it had: so its service is asked about once more, unless it says the same as the last time. So is one that is older than
   * the last: a server may have fallen behind, as after a change of leader. So is one without an instance, since the inventory has some. One of a server without a leader is not believed for a minute where there is another.
   */
  async #query(key: string, { listed, resolver, index }: ServiceQuery, signal: AbortSignal): Promise<ServiceAnswer> {
    const before = this.#queries.get(key)?.value;
    const repeats = this.#repeats.get(key);
    const answer = await answerOf(this.#agent, listed, resolver, signal).catch((reason: unknown) => {
      const { name } = listed;
      if (isOverload(errorOf(reason))) throw reason;
      if (isAboutName(reason) && (before?.service.instances ?? []).length === 0) return rejected(listed, reason);
      throw new AgentError(`service ${name} keeps its last answer: ${reasonOf(reason)}`, { cause: reason });
    });
    const isContradicted = before !== undefined && listed.digest !== undefined && isEmptied(answer, before);
    const isOneMore = before !== undefined && before.behind === 0 && isSubsetEmptied(answer, before);
    const isDoubtful =
      before !== undefined && (answer.stale || answer.index < before.index || isContradicted || isOneMore);
    const behind = isDoubtful ? before.behind + 1 : 0;
    const isRepeated = answer.index === before?.index && repeats !== before.repeats;
    const isBelieved = behind === 0 || behind > (answer.stale || isContradicted ? MAX_DOUBTED : MAX_BEHIND);
    if (!isBelieved || (answer.index > index && !isRepeated))
      this.#unconfirmed.set(key, performance.now() + CONFIRM_MS);
    if (isBelieved || before === undefined) return { ...answer, repeats, behind: 0 };
    return { ...before, repeats, behind };
  }
}

interface ServiceQuery {
  readonly listed: ListedService;
  readonly resolver: GatewayResolver | undefined;
  /** Raft index of the inventory by which it is asked. */
  readonly index: number;
}

/** Asked for by a query of its own, which another server may have answered. */
function isSubsetEmptied({ service: now }: HealthAnswer, { service: before }: HealthAnswer): boolean {
  return Object.entries(now.selections).some(([subset, selection]) => {
    const earlier = before.selections[subset];
    const isNone = selection.kind === 'selected' && selection.instances.length === 0;
    return isNone && earlier?.kind === 'selected' && earlier.instances.length > 0;
  });
}

function isEmptied({ service: now }: HealthAnswer, { service: before }: HealthAnswer): boolean {
  return now.instances.length === 0 && before.instances.length > 0;
}

interface HealthAnswer {
  readonly service: CatalogService;
  /** Why nothing can be known of it. */
  readonly rejected?: string;
  readonly filtered: boolean;
  /** As `Answer.stale` of the agent. */
  readonly stale: boolean;
  /** Raft index of the answer: that of the last change which concerns this service. */
  readonly index: number;
}

interface ServiceAnswer extends HealthAnswer {
  /** How often it had been asked about once more. */
  readonly repeats: number | undefined;
  /** How many older answers have come since. */
  readonly behind: number;
}

/**
 * Whether the agent stumbles over the name itself: one that stands in no path (`..`, in older releases `a//b`) is redirected, one with
 * unprintable characters refused. That is no failure to try again.
 */
function isAboutName(reason: unknown): reason is AgentError {
  return reason instanceof AgentError && reason.status !== undefined && NAME_STATUSES.has(reason.status);
}

const NAME_STATUSES: ReadonlySet<number> = new Set([301, 307, 308, 400]);

function rejected({ name, namespace }: ListedService, { message }: AgentError): HealthAnswer {
  const service = { name, ...(namespace === '' ? {} : { namespace }), instances: [], selections: {} };
  return {
    service,
    filtered: false,
    stale: false,
    index: 0,
    rejected: `service ${JSON.stringify(name)} is not routed: ${message}`,
  };
}

// What is older still is no server that has fallen behind, but one that was restored.
const MAX_BEHIND = 3;
// About a minute. A server without a leader cannot know anything newer; and the inventory shows within a second what is gone.
const MAX_DOUBTED = 60;
// More connections make the sweep of thousands of services no faster, and less room for everything else.
const AT_A_TIME = 12;
// Everything is asked about anew in this time, so that nothing that the coarse query may not show is wrong for longer.
const REQUERY_ALL_MS = 300_000;

/** Longer than the coarse query of a large datacenter takes to show a change. */
export const CONFIRM_MS = 1_000;

function isSame(one: Registered, other: Registered | undefined): boolean {
  return one.inventory === other?.inventory && one.resolvers === other.resolvers && one.links === other.links;
}

async function answerOf(
  agent: Agent | undefined,
  { name, namespace }: ListedService,
  resolver: GatewayResolver | undefined,
  signal: AbortSignal,
): Promise<HealthAnswer> {
  if (agent === undefined) throw new AgentError('expected an agent to ask, found none');
  const path = `health/connect/${encodeURIComponent(name)}`;
  const scope = namespace === '' ? {} : { ns: namespace };
  const send = (query: Readonly<Record<string, string>>): Promise<AgentResponse> =>
    agent.request({ path, query: { ...scope, ...query }, without: FREE_TEXT }, signal);
  const answer = await send({});
  const instances = instancesIn(answer, path);
  const subsets = instances.length === 0 ? [] : Object.entries(resolver?.subsets ?? {});
  const selections = subsets.map(async ([subset, definition]) => {
    return [subset, await selectionOf(definition, instances, path, (filter) => send({ filter }))] as const;
  });
  const service = {
    name,
    ...(namespace === '' ? {} : { namespace }),
    instances,
    ...(resolver === undefined ? {} : { resolver }),
    selections: Object.fromEntries(await Promise.all(selections)),
  };
  return { service, filtered: answer.filtered, stale: answer.stale, index: answer.index ?? 0 };
}

function instancesIn(answer: AgentResponse, path: string): readonly Instance[] {
  return parsed(answer, path, 'a list of instances', instancesOf);
}

async function selectionOf(
  { filter }: Subset,
  instances: readonly Instance[],
  path: string,
  select: (filter: string) => Promise<AgentResponse>,
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
