import type { ChainTarget, GatewayGroup, Instance, ProxyDefinition, ProxySource } from '@meshgate/mesh';
import type { ProxyView, Selection } from '@meshgate/mesh';
import { AgentError, openAgent, parsed } from '../agent.ts';
import type { Agent, AgentOptions } from '../agent.ts';
import { blockingQuery } from '../blocking-query.ts';
import { object, text } from '../json.ts';
import { federatedGateways, hasNoFederationStates, polledGateways } from '../remote-gateways.ts';
import { scopeWithin } from '../scope.ts';
import { Wakeup } from '../wakeup.ts';
import { proxyFinder } from './find-proxy.ts';
import type { ProxyChoice } from './find-proxy.ts';
import { FollowedSet } from './followed.ts';
import { gatewaysInUse, withCurrentHealth } from './gateway-health.ts';
import type { GatewayService } from './gateway-health.ts';
import { ownEntriesOf } from './own-entries.ts';
import { chainAnswers, entryAnswers, gatewayAnswers, queryAnswers, targetAnswers } from './questions.ts';
import type { QueryResult } from './questions.ts';
import { registeredProxy } from './registered-proxy.ts';
import type { RegisteredProxy } from './registered-proxy.ts';
import { chainTargets, viewOf } from './view.ts';
import type { Account } from './view.ts';

/**
 * What a Connect proxy runs by, from the local agent: its registration by hash; for each upstream the compiled discovery chain and
 * the health of every target; and the mesh gateways of all datacenters, with the health of those that are dialled. What fails keeps what it gave last, with a warning.
 */
export function consulProxySource(options: AgentOptions, choice: ProxyChoice): ProxySource {
  const find = proxyFinder(choice, { tells: true });
  return { name: 'consul', watch };

  async function* watch(signal: AbortSignal): AsyncGenerator<ProxyView, void, void> {
    const agent = openAgent(options, SOCKETS);
    const scope = scopeWithin(signal);
    const watched = new ProxyWatch(agent, scope.signal);
    try {
      yield* watched.views(await find(agent, signal), signal);
    } finally {
      scope.end();
      await agent.close();
      await watched.end();
    }
  }
}

// Each followed question holds one: room for some dozen upstreams, and for others on the host, of whose connections an agent
// takes 200.
const SOCKETS = 128;
// A datacenter that does not answer must not keep a proxy from reaching the others.
const PATIENCE_MS = 2_000;
const LONG_MS = 60_000;

const REGISTRATION = 'registration';
const TRUST_DOMAIN = 'trust domain';
const DATACENTER = 'datacenter';
const PROXY_DEFAULTS = 'proxy-defaults';
const SERVICE_DEFAULTS = 'service-defaults';
const GATEWAYS = 'mesh gateways';

type Watch<T> = (signal: AbortSignal) => AsyncIterable<T>;

/** The questions about one proxy, and what has become of them. */
class ProxyWatch {
  readonly #agent: Agent;
  readonly #wakeup = new Wakeup();
  readonly #facts: FollowedSet<unknown>;
  readonly #registration: FollowedSet<RegisteredProxy | null>;
  readonly #gateways: FollowedSet<readonly GatewayGroup[]>;
  readonly #gatewayHealth: FollowedSet<readonly Instance[]>;
  readonly #chains: FollowedSet<unknown>;
  readonly #targets: FollowedSet<Selection>;
  readonly #queries: FollowedSet<QueryResult>;
  #proxy: ProxyDefinition | undefined;

  constructor(agent: Agent, signal: AbortSignal) {
    const changed = (): void => this.#wakeup.signal();
    this.#agent = agent;
    this.#facts = new FollowedSet(changed, signal);
    this.#registration = new FollowedSet(changed, signal);
    this.#gateways = new FollowedSet(changed, signal);
    this.#gatewayHealth = new FollowedSet(changed, signal);
    this.#chains = new FollowedSet(changed, signal);
    this.#targets = new FollowedSet(changed, signal);
    this.#queries = new FollowedSet(changed, signal);
  }

  /** Each view that differs from the one before. */
  async *views(id: string, signal: AbortSignal): AsyncGenerator<ProxyView, void, void> {
    this.#registration.want(new Map([[REGISTRATION, (inner) => registeredProxy(this.#agent, id, inner)]]));
    const patientUntil = performance.now() + PATIENCE_MS;
    let version = '';
    while (!signal.aborted) {
      const account = this.#account();
      const leftMs = patientUntil - performance.now();
      if (account !== undefined && (leftMs <= 0 || this.#isSettled())) {
        const view = viewOf(account, this.#warnings(id));
        if (view.version !== version) yield view;
        ({ version } = view);
      }
      const [failure] = account === undefined ? this.#failuresOfFirst() : [];
      if (failure !== undefined) throw new AgentError(failure);
      await this.#wakeup.sleep(leftMs <= 0 ? LONG_MS : leftMs, signal);
    }
  }

  /** Resolves when nothing is followed any more. */
  async end(): Promise<void> {
    await Promise.all(this.#sets().map((set) => set.end()));
  }

  #sets(): readonly Pick<FollowedSet<unknown>, 'end' | 'failures' | 'settled'>[] {
    const gateways = [this.#gateways, this.#gatewayHealth];
    return [this.#registration, this.#facts, ...gateways, this.#chains, this.#targets, this.#queries];
  }

  #isSettled(): boolean {
    return this.#sets().every(({ settled }) => settled);
  }

  /** What is known, the questions adjusted to it; `undefined` while something is missing without which there is no view. */
  #account(): Account | undefined {
    this.#proxy = this.#registration.get(REGISTRATION)?.value?.definition ?? this.#proxy;
    if (this.#proxy === undefined) return undefined;
    this.#askAbout(this.#proxy);
    const [trustDomain, datacenter] = [TRUST_DOMAIN, DATACENTER].map((key) => text(this.#facts.get(key)?.value));
    if (!trustDomain || !datacenter) return undefined;
    const account = this.#accountOf(this.#proxy, trustDomain, datacenter);
    const targets = this.#proxy.upstreams.flatMap((upstream) => chainTargets(upstream, account));
    this.#targets.want(
      new Map(
        targets.map((target): [string, Watch<Selection>] => [
          targetKey(target),
          (signal) => targetAnswers(this.#agent, target, signal),
        ]),
      ),
    );
    this.#gatewayHealth.want(
      new Map(
        gatewaysInUse(targets, { datacenter, gateways: this.#knownGateways() }).map(
          (asked): [string, Watch<readonly Instance[]>] => [
            gatewayKey(asked),
            (signal) => gatewayAnswers(this.#agent, asked, signal),
          ],
        ),
      ),
    );
    return account;
  }

  /** Of all datacenters, as they were some seconds ago. */
  #knownGateways(): readonly GatewayGroup[] {
    return this.#gateways.get(GATEWAYS)?.value ?? [];
  }

  #askAbout({ service, upstreams }: ProxyDefinition): void {
    const agent = this.#agent;
    this.#facts.want(
      new Map<string, Watch<unknown>>([
        [TRUST_DOMAIN, (signal) => trustDomains(agent, signal)],
        [DATACENTER, (signal) => ownDatacenter(agent, service, signal)],
        [PROXY_DEFAULTS, (signal) => entryAnswers(agent, 'config/proxy-defaults/global', signal)],
        [
          SERVICE_DEFAULTS,
          (signal) => entryAnswers(agent, `config/service-defaults/${encodeURIComponent(service)}`, signal),
        ],
      ]),
    );
    this.#gateways.want(new Map([[GATEWAYS, (signal) => gatewayGroups(agent, signal)]]));
    const isQuery = ({ kind }: { readonly kind: string }): boolean => kind === 'prepared-query';
    const chains = upstreams.filter((one) => !isQuery(one) && one.peer === undefined);
    this.#chains.want(new Map(chains.map((one) => [upstreamKey(one), (signal) => chainAnswers(agent, one, signal)])));
    const queries = upstreams.filter(isQuery);
    this.#queries.want(new Map(queries.map((one) => [upstreamKey(one), (signal) => queryAnswers(agent, one, signal)])));
  }

  #accountOf(proxy: ProxyDefinition, trustDomain: string, datacenter: string): Account {
    const [proxyDefaults, serviceDefaults] = [PROXY_DEFAULTS, SERVICE_DEFAULTS].map(
      (key) => this.#facts.get(key)?.value,
    );
    return {
      proxy,
      trustDomain,
      datacenter,
      entries: ownEntriesOf({ proxyDefaults, serviceDefaults }, proxy.service),
      gateways: withCurrentHealth(this.#knownGateways(), (asked) => this.#gatewayHealth.get(gatewayKey(asked))),
      chain: (upstream) => this.#chains.get(upstreamKey(upstream)),
      instances: (target) => this.#targets.get(targetKey(target)),
      query: (upstream) => this.#queries.get(upstreamKey(upstream)),
    };
  }

  #warnings(id: string): readonly string[] {
    const registered = this.#registration.get(REGISTRATION)?.value;
    const lost = `the agent no longer knows ${id}: what it was registered with last is used`;
    const odd = registered === null ? lost : registered?.warning;
    const failures = this.#sets().flatMap((set) => set.failures);
    return [...(odd === undefined ? [] : [odd]), ...new Set(failures)];
  }

  /** Why what must be known before all else is not. */
  #failuresOfFirst(): readonly string[] {
    const first = [this.#registration.get(REGISTRATION), this.#facts.get(TRUST_DOMAIN), this.#facts.get(DATACENTER)];
    return first.map((asked) => asked?.failure).filter((failure) => failure !== undefined);
  }
}

function upstreamKey(upstream: {
  readonly name: string;
  readonly datacenter?: string;
  readonly namespace?: string;
}): string {
  return JSON.stringify([upstream.name, upstream.datacenter, upstream.namespace]);
}

function targetKey({ service, datacenter, namespace, instances: { filter } }: ChainTarget): string {
  return JSON.stringify([service, datacenter, namespace, filter]);
}

function gatewayKey({ datacenter, service }: GatewayService): string {
  return JSON.stringify([datacenter, service]);
}

async function* trustDomains(agent: Agent, signal: AbortSignal): AsyncGenerator<string> {
  const path = 'agent/connect/ca/roots';
  for await (const answer of blockingQuery(agent, { path }, signal))
    yield parsed(answer, path, 'roots with a trust domain', (json) => text(object(json)?.['TrustDomain']) || undefined);
}

/** By a question that every token which may be a proxy of `service` may ask: its own discovery chain says where it was compiled. */
async function* ownDatacenter(agent: Agent, service: string, signal: AbortSignal): AsyncGenerator<string> {
  const path = `discovery-chain/${encodeURIComponent(service)}`;
  for await (const answer of blockingQuery(agent, { path }, signal))
    yield parsed(
      answer,
      path,
      'a chain with a datacenter',
      (json) => text(object(object(json)?.['Chain'])?.['Datacenter']) || undefined,
    );
}

async function* gatewayGroups(agent: Agent, signal: AbortSignal): AsyncGenerator<readonly GatewayGroup[]> {
  try {
    yield* federatedGateways(agent, signal);
  } catch (reason) {
    if (!hasNoFederationStates(reason)) throw reason;
    yield* polledGateways(agent, signal);
  }
}
