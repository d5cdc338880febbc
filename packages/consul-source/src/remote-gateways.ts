import { pause } from '@meshgate/core';
import { Cell, openScope, QuerySet, Watched } from '@meshgate/core/parts';
import { newestOfEach } from '@meshgate/mesh';
import type { GatewayGroup } from '@meshgate/mesh';
import { AgentError, FREE_TEXT, fresh, isOverload, parsed, reasonOf } from './agent.ts';
import type { Agent } from './agent.ts';
import { blockingQuery } from './blocking-query.ts';
import { list, objects, text } from './json.ts';
import { gatewayGroupsOf, instancesOf } from './records.ts';

/** Options of {@link gatewayGroups}. */
export interface GatewayGroupsOptions {
  /** Whether datacenters with a federation state are queried, too: the state may be older than their catalog. */
  readonly checksStates: boolean;
  /** Whether nothing is yielded before all datacenters have answered, though only for half a second; else those come when they come. */
  readonly awaitsAll: boolean;
}

/**
 * The mesh gateways of all datacenters, found by their kind, whatever their service is called.
 *
 * Federation states are replicated to every datacenter: one local query that works while remote datacenters are unreachable. They may
 * be missing (an agent that is too old, a token that may not read them, a datacenter without a replication token) or older than the
 * catalog there, so each datacenter is also queried itself: every ten seconds without a state, every minute and at each change of its
 * state with one. The newer registration is used.
 *
 * A datacenter without a known gateway is yielded with none.
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
      if (groups !== undefined && present !== last) yield groups;
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
  readonly #lastStates = new Map<string, GatewayGroup>();
  readonly #startedAt = performance.now();

  constructor(agent: Agent, options: GatewayGroupsOptions, signal: AbortSignal) {
    this.#options = options;
    const changed = (): void => this.changes.set();
    this.#agent = agent;
    this.#states = new Watched((inner) => federationStates(agent, inner), { changed, signal });
    this.#datacenters = new Watched((inner) => datacenters(agent, inner), { changed, signal });
    this.#direct = new QuerySet({ changed, atATime: AT_A_TIME, isOverload });
    this.#direct.run(signal);
  }

  /**
   * `undefined` while there is something to wait for.
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
    // With a state for each there is no need to wait for an unresponsive datacenter.
    const isMissing = all.some((datacenter) => !states.has(datacenter));
    if (awaitsAll && isMissing && !this.#direct.converged && this.#ageMs < AWAITED_MS) return undefined;
    return newestOfEach(all.flatMap((datacenter) => this.#groupsOf(datacenter, states.get(datacenter))));
  }

  /** How long to wait at most before the groups are looked at again, in milliseconds. */
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
      send: (signal: AbortSignal) => gatewaysIn(this.#agent, datacenter, signal),
    };
  }

  /**
   * What a datacenter that no longer answers has said is older than its state; without one it is all that there is. One that has not answered
   * at all is left out for as long as it may just be far away; after that its names lead nowhere, and it is said why.
   */
  #groupsOf(datacenter: string, state: GatewayGroup | undefined): readonly GatewayGroup[] {
    const { value, error } = this.#direct.get(datacenter) ?? {};
    if (state !== undefined) return value === undefined || error !== undefined ? [state] : [state, value];
    if (value !== undefined) return [value];
    // A state that is gone, of a datacenter that has not answered itself yet: until it does, what the state said holds.
    const before = this.#lastStates.get(datacenter);
    if (before !== undefined) return [before];
    if (error === undefined && this.#ageMs < SILENT_MS) return [];
    return [{ datacenter, gateways: [], problem: error === undefined ? NO_RESPONSE : reasonOf(error) }];
  }
}

// Half the world away is a fifth of a second, and two questions are asked one after the other.
const AWAITED_MS = 500;
const SILENT_MS = 2_000;
const NO_RESPONSE = 'the datacenter has not answered yet';
const TICK_MS = 5_000;
// As often as Consul itself refreshes its data about other datacenters.
const QUERY_MS = 10_000;
const CHECK_MS = 60_000;
const AT_A_TIME = 4;

/** None where the agent has no such query, or the token may not use it. */
async function* federationStates(agent: Agent, signal: AbortSignal): AsyncGenerator<States> {
  const path = 'internal/federation-states/mesh-gateways';
  while (!signal.aborted) {
    try {
      for await (const response of blockingQuery(agent, { path, without: FREE_TEXT }, signal)) {
        const groups = parsed(response, path, 'gateways by datacenter', gatewayGroupsOf);
        const known = groups.filter(({ gateways }) => gateways.length > 0);
        yield new Map(known.map((group) => [group.datacenter, group]));
      }
    } catch (reason) {
      if (!(reason instanceof AgentError) || (reason.status !== 404 && reason.status !== 403)) throw reason;
      yield new Map();
      await pause(REFUSED_REST_MS, signal);
    }
  }
}

// Agents and policies rarely change.
const REFUSED_REST_MS = 60_000;

async function* datacenters(agent: Agent, signal: AbortSignal): AsyncGenerator<readonly string[]> {
  const path = 'catalog/datacenters';
  while (!signal.aborted) {
    // The own one at least is always among them.
    yield parsed(await agent.request({ path }, signal), path, 'a list of names', (json) =>
      Array.isArray(json) && json.length > 0 ? list(json).map(text) : undefined,
    );
    await pause(QUERY_MS, signal);
  }
}

async function gatewaysIn(agent: Agent, datacenter: string, signal: AbortSignal): Promise<GatewayGroup> {
  const path = 'internal/ui/services';
  const query = { dc: datacenter };
  const response = fresh(await agent.request({ path, query, without: FREE_TEXT }, signal));
  const services = parsed(response, path, 'a list of services', (json) =>
    Array.isArray(json) ? objects(json) : undefined,
  );
  // At least Consul's own servers are one, wherever anything can be seen.
  if (services.length === 0) throw new AgentError(`datacenter ${datacenter} shows no service at all`);
  const names = services
    .filter((service) => service['Kind'] === 'mesh-gateway')
    .map((service) => text(service['Name']));
  const gateways = names.map(async (name) => {
    const health = `health/service/${encodeURIComponent(name)}`;
    const found = fresh(await agent.request({ path: health, query, without: FREE_TEXT }, signal));
    return parsed(found, health, 'a list of instances', instancesOf);
  });
  const found = (await Promise.all(gateways)).flat().filter(({ kind }) => kind === 'mesh-gateway');
  if (found.length === 0 && names.length > 0)
    throw new AgentError(`datacenter ${datacenter} lists mesh gateways, and shows none of them`);
  return { datacenter, gateways: found };
}
