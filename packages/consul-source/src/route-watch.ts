import { formatProblem } from '@meshgate/core';
import type { RouteSnapshot, RouteSource } from '@meshgate/core';
import { Cell, defined, inTurns, openScope } from '@meshgate/core/parts';
import { exportRulesOf, SnapshotVersions, steppedRouteDeriver } from '@meshgate/mesh';
import type {
  Catalog,
  CatalogService,
  ExportRules,
  RoutingGateway,
  GatewayDefinition,
  PeeringCatalog,
} from '@meshgate/mesh';
import { AgentError, openAgent } from './agent.ts';
import type { Agent, AgentOptions } from './agent.ts';
import { MeshWatch } from './mesh-watch.ts';
import type { KnownParts, MeshView, Preset } from './mesh-watch.ts';
import type { OwnDefinition } from './own-definition.ts';
import { OwnVisibility } from './own-visibility.ts';
import type { OwnInstance } from './own-visibility.ts';
import { PeeringWatch } from './peering/peering-watch.ts';
import type { KnownPeering } from './peering/peering-watch.ts';
import { RootExpiries } from './roots.ts';
import type { OnRoots } from './roots.ts';
import { ServiceHealth, CONFIRM_MS } from './service-health.ts';
import { StateLossGuard } from './state-loss-guard.ts';
import { Warnings } from './warnings.ts';

/** Options of {@link routeSource}. */
export interface RouteSourceOptions extends ExportRules {
  readonly agent: AgentOptions;
  readonly preset: Preset;
  /** Warnings to add to every snapshot. */
  readonly warnings?: Warnings;
  /** The definition with which the gateway will be registered, used until the agent knows it. */
  readonly expected?: GatewayDefinition;
  /** See `ConsulOptions`. */
  readonly onRoots?: OnRoots;
}

/**
 * Follows the routes of a mesh gateway, as the local Consul agent reports them. A query that fails keeps its last
 * value, with a warning that names it. The source throws only when the agent does not respond at all: its follower then
 * keeps the last routes and restarts it. The known state survives a restart.
 */
export function routeSource(options: RouteSourceOptions): RouteSource {
  // A second concurrent watch starts without known state.
  let idle: ConsulRouteWatch | undefined;
  return { name: 'consul', watch };

  async function* watch(signal: AbortSignal): AsyncGenerator<RouteSnapshot, void, void> {
    const routes = idle ?? new ConsulRouteWatch(options);
    idle = undefined;
    try {
      yield* routes.snapshots(signal);
    } finally {
      idle = routes;
    }
  }
}

interface Watches {
  readonly mesh: MeshWatch;
  readonly peering: PeeringWatch;
}

/** Inputs of a snapshot. */
interface Look {
  readonly view: MeshView;
  readonly peering: PeeringWatch;
  /** Whether the snapshot may still wait for the peerings. */
  readonly isPatient: boolean;
  /** Why the agent's last response may lack existing entries; `undefined` when it was fresh. */
  readonly stale: string | undefined;
  /** See `Agent.filesProblem`. */
  readonly files: string | undefined;
}

/** The known state from which a snapshot is made. */
interface Seen extends Pick<Look, 'view' | 'stale'> {
  readonly peers: PeeringCatalog | undefined;
  readonly rewinds: number;
  /** Warnings about peerings. */
  readonly warnings: readonly string[];
}

/**
 * Turns the agent's responses into snapshots, by way of the watched parts, the health of each service, derived routes,
 * and the state loss guard.
 */
class ConsulRouteWatch {
  readonly #options: RouteSourceOptions;
  readonly #warnings: Warnings;
  readonly #changes = new Cell<void>();
  readonly #health = new ServiceHealth(() => this.#changes.set());
  readonly #derive = steppedRouteDeriver();
  readonly #guard = new StateLossGuard();
  readonly #visibility = new OwnVisibility('gateway');
  readonly #versions = new SnapshotVersions();
  readonly #rootExpiries: RootExpiries | undefined;
  #known: KnownParts = {};
  #knownPeering: KnownPeering | undefined;
  #derivedAt = 0;
  /** `MeshView.serversVanishedAt` of the last view that the guard has seen. */
  #vanishedAt = 0;
  /** Every service has been queried. */
  #isComplete = false;
  /** Of the last view that the guard has seen. */
  #observed: Pick<MeshView, 'trustDomain' | 'index'> | undefined;
  /** When a view first had new roots with the inventory of the former ones. */
  #rootsAheadAt: number | undefined;

  constructor(options: RouteSourceOptions) {
    this.#options = options;
    this.#warnings = options.warnings ?? new Warnings();
    this.#rootExpiries = options.onRoots && new RootExpiries(options.onRoots);
  }

  async *snapshots(outer: AbortSignal): AsyncGenerator<RouteSnapshot, void, void> {
    const { signal, end } = openScope(outer);
    const { agent: how, preset } = this.#options;
    const changed = (): void => this.#changes.set();
    const agent = openAgent(how, SOCKETS, changed);
    const mesh = new MeshWatch(agent, preset, { changed, signal }, this.#known);
    const peering = new PeeringWatch(agent, { changed, signal }, this.#knownPeering);
    const warned = this.#onWarning(changed, signal);
    this.#health.run(agent, signal);
    try {
      yield* this.#changed(agent, { mesh, peering }, signal);
    } catch (reason) {
      if (!outer.aborted) throw reason;
    } finally {
      end();
      this.#known = mesh.known;
      this.#knownPeering = peering.known;
      this.#health.rest();
      await agent.close();
      await Promise.all([mesh.end(), peering.end(), warned]);
    }
  }

  /**
   * Yields each snapshot that differs from the previous one, and repeats it while the agent responds, so that it does
   * not count as outdated.
   */
  async *#changed(
    agent: Agent,
    { mesh, peering }: Watches,
    signal: AbortSignal,
  ): AsyncGenerator<RouteSnapshot, void, void> {
    const startedAt = performance.now();
    let last: { readonly version: string; readonly at: number } | undefined;
    while (!signal.aborted) {
      const seen = this.#changes.revision;
      const now = performance.now();
      const view = mesh.view(now - startedAt < PATIENCE_MS);
      if (mesh.failure !== undefined) throw mesh.failure;
      const isPatient = now - startedAt < PEERING_PATIENCE_MS;
      const snapshot =
        view === undefined
          ? undefined
          : await this.#look(
              { view, peering, isPatient, stale: agent.incompleteReason, files: agent.filesProblem },
              now,
            );
      const hasChanged = snapshot?.version !== last?.version || agent.lastResponseAt - (last?.at ?? 0) > REPEAT_MS;
      if (snapshot !== undefined && hasChanged && !signal.aborted) {
        last = { version: snapshot.version, at: now };
        yield snapshot;
      }
      await this.#changes.changed(seen, signal, snapshot === undefined ? PROGRESS_MS : this.#restMs);
    }
  }

  get #restMs(): number {
    return this.#health.confirmed ? REPEAT_MS : CONFIRM_MS;
  }

  /** Evaluates the current state. @returns `undefined` while services are being queried */
  async #look({ view, peering, isPatient, stale, files }: Look, now: number): Promise<RouteSnapshot | undefined> {
    if (this.#areRootsAhead(view, now)) return undefined;
    this.#health.update(view, now);
    const peers = peering.update(this.#health.services, view.inventory.imports);
    // Peers missing from the first snapshot would look like removed ones.
    if (!this.#isComplete && isPatient && !peering.converged) return undefined;
    const isProgress = this.#isComplete && now - this.#derivedAt >= PROGRESS_MS;
    if (!this.#health.converged && !isProgress) return undefined;
    this.#complete();
    this.#derivedAt = now;
    return this.#snapshot({
      view,
      peers,
      rewinds: peering.rewinds,
      stale,
      warnings: [...(files === undefined ? [] : [files]), ...peering.warnings],
    });
  }

  /**
   * Whether the servers were replaced and the inventory still is that of the former ones. Its services would get names in a trust domain
   * in which nobody has registered them, and these would look like a confirmation. Limited, since the index may be the same by chance.
   */
  #areRootsAhead({ trustDomain, index }: MeshView, now: number): boolean {
    const last = this.#observed;
    const isAhead = last !== undefined && trustDomain !== last.trustDomain && index === last.index;
    this.#rootsAheadAt = isAhead ? (this.#rootsAheadAt ?? now) : undefined;
    return now - (this.#rootsAheadAt ?? -Infinity) < ROOTS_AHEAD_MS;
  }

  /**
   * Marks the first sweep over all services as complete.
   *
   * @throws AgentError when more queries failed than succeeded: the missing routes would look like removed ones
   */
  #complete(): void {
    if (this.#isComplete) return;
    const { failures, services } = this.#health;
    const [failure] = failures;
    if (failure !== undefined && failures.length > services.length)
      throw new AgentError(`${failures.length} of ${failures.length + services.length} services: ${failure.message}`);
    this.#isComplete = true;
  }

  async #snapshot({ view, peers: peering, rewinds, stale, warnings: found }: Seen): Promise<RouteSnapshot> {
    this.#rootExpiries?.update(view.roots, peering?.peers ?? []);
    const [catalog, gateway] = inputsOf(view, this.#health.services, this.#options);
    const withPeering = peering === undefined ? catalog : { ...catalog, peering };
    const { routes: derived, problems } = await inTurns(this.#derive(withPeering, gateway));
    const { trustDomain, index, own } = view;
    const invisible = this.#visibility.incompleteReason(instanceOf(own), view.inventory.instances);
    const isPartial = view.inventory.partial || view.serversVanished;
    const wasPartial = isPartial || view.serversVanishedAt > this.#vanishedAt;
    this.#vanishedAt = view.serversVanishedAt;
    const incompleteReason = wasPartial ? PARTIAL : (stale ?? invisible);
    const observation = {
      trustDomain,
      index,
      rewinds,
      registered: own?.kind === 'registered' || this.#warnings.isLeaving,
      ...(incompleteReason === undefined || this.#warnings.isLeaving ? {} : { incompleteReason }),
    };
    this.#observed = { trustDomain, index };
    const { routes, warning } = this.#guard.apply(derived, observation, performance.now());
    const warnings = [
      ...this.#warnings.list,
      ...(warning === undefined ? [] : [warning]),
      ...view.warnings,
      ...found,
      ...(stale === undefined ? [] : [stale]),
      ...(isPartial ? [PARTIAL] : []),
      ...(this.#health.filtered ? [FILTERED] : []),
      ...(own?.kind === 'registered' ? own.definition.problems : []),
      ...shown(problems.map(formatProblem), MAX_PROBLEMS, 'problems'),
      ...shown(
        this.#health.failures.map(({ message }) => message),
        MAX_FAILURES,
        'services',
      ),
      ...shown(this.#health.rejected, MAX_FAILURES, 'services that cannot be queried'),
    ];
    const version = await inTurns(this.#versions.of(routes, warnings));
    return { version, routes, ...(warnings.length === 0 ? {} : { warnings }) };
  }

  async #onWarning(changed: () => void, signal: AbortSignal): Promise<void> {
    const warnings = this.#warnings.watch(signal);
    while ((await warnings.next()).done !== true) changed();
  }
}

// Peerings and their exports take several queries in sequence; an agent that does not answer them must not delay all
// other routes.
const PEERING_PATIENCE_MS = 5_000;
// At most eight watches of the mesh and eight of peering block; the rest serves other queries, and a third more sockets
// are not faster.
const SOCKETS = 24;
// Limit for the delay of local services by remote datacenters and other non-essential parts.
const PATIENCE_MS = 700;
const REPEAT_MS = 15_000;
// Servers that have been replaced end all blocking queries: the list of nodes arrives within a second or two.
const ROOTS_AHEAD_MS = 10_000;
// During a sweep over thousands of services, finished ones get their routes at this interval.
const PROGRESS_MS = 500;
// Enough to show the problem, and few enough for one log line.
const MAX_PROBLEMS = 20;
const MAX_FAILURES = 5;
const PARTIAL = 'Consul\'s own servers are not visible: the token may lack service_prefix "" read';
const FILTERED = 'Consul hides what the token may not read: it may lack service_prefix "" or node_prefix "" read';
function instanceOf(own: OwnDefinition | undefined): OwnInstance | undefined {
  return own?.kind === 'registered' ? own.instance : undefined;
}

function shown(messages: readonly string[], most: number, what: string): readonly string[] {
  return messages.length > most ? [...messages.slice(0, most), `and ${messages.length - most} more ${what}`] : messages;
}

function inputsOf(
  view: MeshView,
  services: readonly CatalogService[],
  options: RouteSourceOptions,
): readonly [Catalog, RoutingGateway] {
  const { trustDomain, datacenter, dnsDomain, gateways, servers, own } = view;
  const definition = own?.kind === 'registered' ? own.definition : options.expected;
  const { wanFederation = false, connectTimeoutMs, remoteKeepAlive } = definition ?? {};
  const gateway = {
    wanFederation,
    ...defined({ connectTimeoutMs, remoteKeepAlive }),
    ...exportRulesOf(options),
  };
  const { partition } = options.preset;
  const location = { datacenter, trustDomain, dnsDomain, ...defined({ partition }) };
  return [{ ...location, services, gateways, servers }, gateway];
}
