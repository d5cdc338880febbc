import { pause } from '@meshgate/core';
import { Cell, openScope, QuerySet, Watched } from '@meshgate/core/parts';
import { newestOfEach } from '@meshgate/mesh';
import type { GatewayGroup } from '@meshgate/mesh';
import { AgentError, FREE_TEXT, isDenied, isOverload, parsedResponse, reasonOf } from './agent.ts';
import type { Agent, ResponseFormat } from './agent.ts';
import { constant, orElse, parsedResponses } from './blocking-query.ts';
import { list, listOfObjects, text } from './json.ts';
import { gatewayGroupsOf, INSTANCES } from './records.ts';

/** Options of {@link gatewayGroups}. */
export interface GatewayGroupsOptions {
  /**
   * Whether to query datacenters with a federation state directly, too: their state may be older than their catalog.
   */
  readonly checksStates: boolean;
  /**
   * Whether to yield nothing before all datacenters have responded, for at most half a second; otherwise their gateways
   * follow as they arrive.
   */
  readonly awaitsAll: boolean;
  /** The last groups, also those of an earlier call with the same object, which is updated. */
  readonly memory: GatewayMemory;
}

/** The last groups, for the next watch after a failure: a datacenter that it has not seen yet was not removed. */
export interface GatewayMemory {
  groups: readonly GatewayGroup[];
}

/**
 * Follows the mesh gateways of all datacenters. Gateways are found by their kind, whatever the name of their service.
 *
 * Federation states are replicated to every datacenter: one local query that works while remote datacenters are
 * unreachable. They may be missing (an agent that is too old, a token that may not read them, a datacenter without a
 * replication token) or older than the catalog there, so each datacenter is also queried directly: every ten seconds
 * without a state; with one, every minute and whenever it changes. The newer registrations are used.
 *
 * A datacenter without a known gateway is part of the result, without gateways.
 */
export async function* gatewayGroups(
  agent: Agent,
  options: GatewayGroupsOptions,
  outer: AbortSignal,
): AsyncGenerator<readonly GatewayGroup[]> {
  const { signal, end } = openScope(outer);
  const watch = new GatewayWatch(agent, options, signal);
  let last: string | undefined;
  try {
    for (let seen = 0; !signal.aborted;) {
      const groups = watch.groups();
      const present = JSON.stringify(groups);
      if (groups !== undefined && present !== last) {
        options.memory.groups = groups;
        yield groups;
      }
      last = groups === undefined ? last : present;
      await watch.changes.changed(seen, signal, watch.restMs);
      seen = watch.changes.revision;
    }
  } finally {
    end();
    await watch.end();
  }
}

type States = ReadonlyMap<string, GatewayGroup>;

class GatewayWatch {
  readonly changes = new Cell<void>();
  readonly #agent: Agent;
  readonly #states: Watched<States>;
  readonly #datacenters: Watched<readonly string[]>;
  readonly #direct: QuerySet<GatewayGroup>;
  readonly #options: GatewayGroupsOptions;
  /** Used for a datacenter until the datacenter has responded. */
  readonly #lastStates: Map<string, GatewayGroup>;
  readonly #startedAt = performance.now();

  constructor(agent: Agent, options: GatewayGroupsOptions, signal: AbortSignal) {
    this.#options = options;
    const { groups } = options.memory;
    this.#lastStates = new Map(groups.filter(isKnown).map((group) => [group.datacenter, group]));
    const changed = (): void => this.changes.set();
    this.#agent = agent;
    this.#states = new Watched((inner) => federationStates(agent, inner), { changed, signal });
    const recent = groups.map(({ datacenter }) => datacenter);
    this.#datacenters = new Watched((inner) => datacenters(agent, recent, inner), { changed, signal });
    this.#direct = new QuerySet({ changed, atATime: AT_A_TIME, isOverload });
    this.#direct.run(signal);
  }

  /**
   * Returns the gateways; `undefined` while a required query is pending.
   *
   * @throws AgentError when the agent itself fails
   */
  groups(): readonly GatewayGroup[] | undefined {
    const failure = this.#states.reading.error ?? this.#datacenters.reading.error;
    if (failure !== undefined) throw failure;
    const [states, names] = [this.#states.reading.value, this.#datacenters.reading.value];
    if (states === undefined || names === undefined) return undefined;
    for (const [datacenter, state] of states) this.#lastStates.set(datacenter, state);
    const all = [...new Set([...names, ...states.keys()])].toSorted();
    const { checksStates, awaitsAll } = this.#options;
    const queried = all.filter((datacenter) => checksStates || !states.has(datacenter));
    this.#direct.set(
      new Map(queried.map((datacenter) => [datacenter, this.#query(datacenter, states.get(datacenter))])),
    );
    // When every datacenter has a state, an unresponsive one delays nothing.
    const isMissing = all.some((datacenter) => !states.has(datacenter));
    if (awaitsAll && isMissing && !this.#direct.converged && this.#ageMs < AWAITED_MS) return undefined;
    return newestOfEach(all.flatMap((datacenter) => this.#groupsOf(datacenter, states.get(datacenter))));
  }

  /** Maximum time until the next evaluation, in milliseconds. */
  get restMs(): number {
    const age = this.#ageMs;
    const next = [AWAITED_MS, SILENT_MS].find((ms) => ms > age);
    return next === undefined ? TICK_MS : next - age;
  }

  get #ageMs(): number {
    return performance.now() - this.#startedAt;
  }

  async end(): Promise<void> {
    this.#direct.rest();
    await Promise.all([this.#states.end(), this.#datacenters.end()]);
  }

  #query(datacenter: string, state: GatewayGroup | undefined) {
    const everyMs = state === undefined ? QUERY_MS : CHECK_MS;
    return {
      stamp: `${Math.floor(performance.now() / everyMs)} ${JSON.stringify(state)}`,
      send: async (signal: AbortSignal) => {
        const group = await gatewaysIn(this.#agent, datacenter, signal);
        const before = this.#direct.get(datacenter)?.value ?? this.#lastStates.get(datacenter);
        if (isKnown(group) || before === undefined || !isKnown(before)) return group;
        // A server that has lost its state has no gateway until agents register again.
        await pause(EMPTIED_REST_MS, signal);
        return gatewaysIn(this.#agent, datacenter, signal);
      },
    };
  }

  /**
   * Combines a datacenter's federation state with its direct query. With a state, the result of a failing query is
   * dropped, since it is older. Without a state, the last result remains, or else the last state. A datacenter that has
   * never responded is omitted for {@link SILENT_MS}, as it may be far away; after that it is listed without gateways,
   * and with the reason.
   */
  #groupsOf(datacenter: string, state: GatewayGroup | undefined): readonly GatewayGroup[] {
    const { value, error } = this.#direct.get(datacenter) ?? {};
    if (state !== undefined) return value === undefined || error !== undefined ? [state] : [state, value];
    if (value !== undefined) return [value];
    // A state that has disappeared applies until the datacenter itself has responded.
    const before = this.#lastStates.get(datacenter);
    if (before !== undefined) return [before];
    if (error === undefined && this.#ageMs < SILENT_MS) return [];
    return [{ datacenter, gateways: [], problem: error === undefined ? NO_RESPONSE : reasonOf(error) }];
  }
}

// A round trip to the other side of the world takes 0.2 s, and two queries run in sequence.
const AWAITED_MS = 500;
const SILENT_MS = 2_000;
const NO_RESPONSE = 'no response from the datacenter yet';
const TICK_MS = 5_000;
// Consul refreshes its data about other datacenters as often.
const QUERY_MS = 10_000;
const CHECK_MS = 60_000;
const AT_A_TIME = 4;
// Pause before the second query of a datacenter that no longer has a gateway.
const EMPTIED_REST_MS = 1_000;

/** Yields no states where the agent does not have the query, or the token may not use it. */
async function* federationStates(agent: Agent, signal: AbortSignal): AsyncGenerator<States> {
  while (!signal.aborted)
    yield* orElse(parsedResponses(agent, STATES, signal), isDenied, () =>
      constant<States>(new Map(), signal, REFUSED_REST_MS),
    );
}

const STATES = {
  path: 'internal/federation-states/mesh-gateways',
  without: FREE_TEXT,
  expected: 'gateways by datacenter',
  read: (json: unknown): States | undefined => {
    const known = gatewayGroupsOf(json)?.filter(isKnown);
    return known && new Map(known.map((group) => [group.datacenter, group]));
  },
};

// Agents and policies rarely change.
const REFUSED_REST_MS = 60_000;

/** Yields the datacenters in any of the last few lists, since a server that has just started knows only its own. */
async function* datacenters(
  agent: Agent,
  known: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<readonly string[]> {
  let recent = Array.from({ length: LISTS }, () => known);
  for await (const names of parsedResponses(agent, DATACENTERS, signal)) {
    recent = [names, ...recent].slice(0, LISTS);
    yield [...new Set(recent.flat())];
  }
}

const DATACENTERS = {
  path: 'catalog/datacenters',
  repeats: true,
  expected: 'a list of names',
  // The list is never empty: it contains at least the local datacenter.
  read: (json: unknown) => (list(json).length > 0 ? list(json).map(text) : undefined),
};
// One every five seconds.
const LISTS = 5;

function isKnown({ gateways }: GatewayGroup): boolean {
  return gateways.length > 0;
}

async function gatewaysIn(agent: Agent, datacenter: string, signal: AbortSignal): Promise<GatewayGroup> {
  const query = <T>(format: ResponseFormat<T>): Promise<T> =>
    parsedResponse(agent, { ...format, query: { dc: datacenter }, without: FREE_TEXT, mayBeStale: false }, signal);
  const services = await query({ path: 'internal/ui/services', expected: 'a list of services', read: listOfObjects });
  // A token that may read anything sees at least the service of Consul's own servers.
  if (services.length === 0) throw new AgentError(`datacenter ${datacenter} returns no services`);
  const names = services
    .filter((service) => service['Kind'] === 'mesh-gateway')
    .map((service) => text(service['Name']));
  const gateways = names.map((name) => query({ path: `health/service/${encodeURIComponent(name)}`, ...INSTANCES }));
  const found = (await Promise.all(gateways)).flat().filter(({ kind }) => kind === 'mesh-gateway');
  if (found.length === 0 && names.length > 0)
    throw new AgentError(`datacenter ${datacenter} lists mesh gateways, but returns no instances`);
  return { datacenter, gateways: found };
}
