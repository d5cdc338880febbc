import { defined, errorOf, QuerySet } from '@meshgate/core/parts';
import type { Query } from '@meshgate/core/parts';
import type { CatalogService, Instance, GatewayResolver, Selection, Subset } from '@meshgate/mesh';
import { AgentError, FREE_TEXT, isOverload, isRefusedFilter, parsed, reasonOf } from './agent.ts';
import type { Agent, AgentResponse } from './agent.ts';
import { digestsOf } from './inventory.ts';
import type { Inventory, ListedService } from './inventory.ts';
import { INSTANCES } from './records.ts';

/** Inputs that determine which services and subsets are queried. */
export interface Registered {
  readonly inventory: Inventory;
  readonly resolvers: ReadonlyMap<string, GatewayResolver>;
  readonly links: ReadonlyMap<string, readonly string[]>;
  /** Raft index of the inventory. */
  readonly index: number;
}

/**
 * Queries the Connect health of every service in the datacenter, once for each change that concerns it, over few
 * sockets: one query per service, and one for each of its subsets, since Consul itself evaluates the filters. A service
 * whose query fails keeps its last result. Results survive a reconnect to the agent.
 */
export class ServiceHealth {
  readonly #queries: QuerySet<ServiceResponse>;
  #agent: Agent | undefined;
  #registered: Registered | undefined;
  #requeryAllAt = 0;
  /** Incremented each time that all services must be queried again. */
  #epoch = 0;
  /** When to repeat the query of a service, in monotonic milliseconds, by service. */
  readonly #unconfirmed = new Map<string, number>();
  /** Number of repeated queries, by service. */
  readonly #repeats = new Map<string, number>();

  /** @param changed called after each response */
  constructor(changed: () => void) {
    this.#queries = new QuerySet({ changed, atATime: AT_A_TIME, isOverload });
  }

  /** Sends queries to `agent` until `signal` aborts. */
  run(agent: Agent, signal: AbortSignal): void {
    this.#agent = agent;
    this.#registered = undefined;
    this.#queries.run(signal);
  }

  /** Stops all queries and timers. */
  rest(): void {
    this.#queries.rest();
  }

  /** Whether every service has been queried since the last change, with success or failure. */
  get converged(): boolean {
    return this.#queries.converged;
  }

  /**
   * Whether every result is confirmed. A result that may be newer than the inventory is queried again after
   * {@link CONFIRM_MS}.
   */
  get confirmed(): boolean {
    return this.#unconfirmed.size === 0;
  }

  /** The services known so far, in no particular order; unchanged services are the same objects. */
  get services(): readonly CatalogService[] {
    return this.#queries.readings.flatMap(({ value }) => (value === undefined ? [] : [value.service]));
  }

  /** Whether the agent filtered out instances that the token may not read. */
  get filtered(): boolean {
    return this.#queries.readings.some(({ value }) => value?.filtered === true);
  }

  /** The reasons for which services cannot be queried. */
  get rejected(): readonly string[] {
    return this.#queries.readings.flatMap(({ value }) => value?.rejected ?? []);
  }

  /** The errors of services that keep an older result, or have none. */
  get failures(): readonly Error[] {
    return this.#queries.readings.flatMap(({ error }) => (error === undefined ? [] : [error]));
  }

  /**
   * Queries the services that have changed since the last call.
   *
   * @param now monotonic milliseconds
   */
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

  #wanted({ inventory, resolvers, links, index }: Registered): ReadonlyMap<string, Query<ServiceResponse>> {
    const wanted = new Map<string, Query<ServiceResponse>>();
    for (const [key, digest] of digestsOf(inventory, links)) {
      const listed = inventory.services.get(key);
      // Without a Connect instance, the result would be empty.
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
   * Queries one service. A result that is newer than the inventory may reflect a change that is reverted before the
   * inventory is read again, with the same digests as before: so the query is repeated, unless the result equals the
   * previous one. So is a query with a result older than the previous one: a server may lag behind, for example after a
   * leader election.
   */
  async #query(key: string, { listed, resolver, index }: ServiceQuery, signal: AbortSignal): Promise<ServiceResponse> {
    const before = this.#queries.get(key)?.value;
    const repeats = this.#repeats.get(key);
    const response = await responseOf(this.#agent, listed, resolver, signal).catch((reason: unknown) => {
      const { name } = listed;
      if (isOverload(errorOf(reason))) throw reason;
      if (isAboutName(reason) && (before?.service.instances ?? []).length === 0) return rejected(listed, reason);
      throw new AgentError(`service ${name}: keeping last instances: ${reasonOf(reason)}`, { cause: reason });
    });
    const isContradicted = before !== undefined && listed.digest !== undefined && isEmptied(response, before);
    const isOneMore = before !== undefined && before.behind === 0 && isSubsetEmptied(response, before);
    const isDoubtful =
      before !== undefined && (response.stale || response.index < before.index || isContradicted || isOneMore);
    const behind = isDoubtful ? before.behind + 1 : 0;
    const isRepeated = response.index === before?.index && repeats !== before.repeats;
    const isBelieved = behind === 0 || behind > (response.stale || isContradicted ? MAX_DOUBTED : MAX_BEHIND);
    if (!isBelieved || (response.index > index && !isRepeated))
      this.#unconfirmed.set(key, performance.now() + CONFIRM_MS);
    if (isBelieved || before === undefined) return { ...response, repeats, behind: 0 };
    return { ...before, repeats, behind };
  }
}

interface ServiceQuery {
  readonly listed: ListedService;
  readonly resolver: GatewayResolver | undefined;
  /** Raft index of the inventory that triggered the query. */
  readonly index: number;
}

/** Whether a subset lost all its instances. Each subset has its own query, which a lagging server may have answered. */
function isSubsetEmptied({ service: now }: HealthResponse, { service: before }: HealthResponse): boolean {
  return Object.entries(now.selections).some(([subset, selection]) => {
    const earlier = before.selections[subset];
    const isNone = selection.kind === 'selected' && selection.instances.length === 0;
    return isNone && earlier?.kind === 'selected' && earlier.instances.length > 0;
  });
}

function isEmptied({ service: now }: HealthResponse, { service: before }: HealthResponse): boolean {
  return now.instances.length === 0 && before.instances.length > 0;
}

interface HealthResponse {
  readonly service: CatalogService;
  /** Why the service cannot be queried. */
  readonly rejected?: string;
  readonly filtered: boolean;
  /** See `AgentResponse.stale`. */
  readonly stale: boolean;
  /** Raft index of the response: that of the service's last change. */
  readonly index: number;
}

interface ServiceResponse extends HealthResponse {
  /** Number of repeats at the time of the query. */
  readonly repeats: number | undefined;
  /** Number of doubtful responses since this one. */
  readonly behind: number;
}

/**
 * Whether the agent cannot handle the name itself: it redirects a name that does not fit into a path (`..`, in older
 * releases `a//b`), and rejects one with unprintable characters. A retry would not help.
 */
function isAboutName(reason: unknown): reason is AgentError {
  return reason instanceof AgentError && reason.status !== undefined && NAME_STATUSES.has(reason.status);
}

const NAME_STATUSES: ReadonlySet<number> = new Set([301, 307, 308, 400]);

function rejected({ name, namespace }: ListedService, { message }: AgentError): HealthResponse {
  const service = { name, ...(namespace === '' ? {} : { namespace }), instances: [], selections: {} };
  return {
    service,
    filtered: false,
    stale: false,
    index: 0,
    rejected: `service ${JSON.stringify(name)} is not routed: ${message}`,
  };
}

// Number of older responses after which the server is not lagging: it was restored.
const MAX_BEHIND = 3;
// About a minute of repeated queries. A server without a leader has nothing newer, and the inventory shows a removal
// within a second.
const MAX_DOUBTED = 60;
// More connections do not speed up a sweep over thousands of services, and leave less capacity for everything else.
const AT_A_TIME = 12;
// Interval at which all services are queried again: it limits the duration of errors that the coarse query does not
// show.
const REQUERY_ALL_MS = 300_000;

/** Longer than the coarse query of a large datacenter takes to show a change. */
export const CONFIRM_MS = 1_000;

function isSame(one: Registered, other: Registered | undefined): boolean {
  return one.inventory === other?.inventory && one.resolvers === other.resolvers && one.links === other.links;
}

async function responseOf(
  agent: Agent | undefined,
  { name, namespace }: ListedService,
  resolver: GatewayResolver | undefined,
  signal: AbortSignal,
): Promise<HealthResponse> {
  if (agent === undefined) throw new AgentError('expected an agent to query, found none');
  const path = `health/connect/${encodeURIComponent(name)}`;
  const scope = namespace === '' ? {} : { ns: namespace };
  const send = (query: Readonly<Record<string, string>>): Promise<AgentResponse> =>
    agent.request({ path, query: { ...scope, ...query }, without: FREE_TEXT }, signal);
  const response = await send({});
  const instances = instancesIn(response, path);
  const subsets = instances.length === 0 ? [] : Object.entries(resolver?.subsets ?? {});
  const selections = subsets.map(async ([subset, definition]) => {
    return [subset, await selectionOf(definition, instances, path, (filter) => send({ filter }))] as const;
  });
  const service = {
    name,
    ...(namespace === '' ? {} : { namespace }),
    instances,
    ...defined({ resolver }),
    selections: Object.fromEntries(await Promise.all(selections)),
  };
  return { service, filtered: response.filtered, stale: response.stale, index: response.index ?? 0 };
}

function instancesIn(response: AgentResponse, path: string): readonly Instance[] {
  return parsed(response, { path, ...INSTANCES });
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
