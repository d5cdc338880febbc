import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { formatProblem } from '@meshgate/core';
import type { Problem, RouteSnapshot, RouteSource } from '@meshgate/core';
import { routeDeriver } from '@meshgate/mesh';
import type { Catalog, CatalogService, DerivedRoutes, Gateway, GatewayDefinition } from '@meshgate/mesh';
import { openAgent } from './agent.ts';
import type { Agent, AgentOptions } from './agent.ts';
import { Memory } from './memory.ts';
import type { Remembered } from './memory.ts';
import { emptyView, isComplete, watchMesh } from './mesh-view.ts';
import type { KnownEssentials, MeshView, Preset } from './mesh-view.ts';
import { Notices } from './notices.ts';
import { ServiceAnswers, SETTLE_MS } from './service-answers.ts';
import { Wakeup } from './wakeup.ts';

/** What {@link routeSource} follows. */
export interface RouteSourceOptions {
  readonly agent: AgentOptions;
  readonly preset: Preset;
  /** Shown among the warnings of every snapshot. */
  readonly notices?: Notices;
  /** What the gateway is about to be registered with: used as long as the agent does not know it. */
  readonly expected?: GatewayDefinition;
}

/**
 * The routes of a mesh gateway as the local Consul agent knows them. It throws when the agent fails, so that whoever follows it
 * keeps the last routes and starts it again; what it then says again is checked against what it said before, see {@link Memory}.
 */
export function routeSource(options: RouteSourceOptions): RouteSource {
  const teller = new RouteTeller(options);
  return { name: 'consul', watch: (signal) => teller.watch(signal) };
}

/** What outlives one watch: the lesser parts of the view, which stay until they are known anew, and what Consul said before. */
class RouteTeller {
  readonly #options: RouteSourceOptions;
  readonly #notices: Notices;
  readonly #view: MeshView;
  readonly #memory = new Memory();
  readonly #derive = remembering(routeDeriver());

  constructor(options: RouteSourceOptions) {
    this.#options = options;
    this.#notices = options.notices ?? new Notices();
    this.#view = emptyView(options.preset);
  }

  async *watch(signal: AbortSignal): AsyncGenerator<RouteSnapshot> {
    const scope = new AbortController();
    // Every question under way listens to it: that many are meant, and no leak.
    setMaxListeners(2 * SOCKETS, scope.signal);
    const end = (): void => scope.abort();
    signal.addEventListener('abort', end, { once: true });
    if (signal.aborted) end();
    const agent = openAgent(this.#options.agent, SOCKETS);
    const wakeup = new Wakeup();
    const silence = this.#notices.listen(() => wakeup.signal());
    const watches = watchMesh(agent, this.#view, this.#options.preset, wakeup, scope.signal);
    try {
      yield* this.#snapshots(agent, wakeup, scope.signal);
    } catch (reason) {
      if (!signal.aborted) throw reason;
    } finally {
      silence();
      signal.removeEventListener('abort', end);
      end();
      await agent.close();
      await watches;
    }
  }

  async *#snapshots(agent: Agent, wakeup: Wakeup, signal: AbortSignal): AsyncGenerator<RouteSnapshot> {
    const answers = new ServiceAnswers(agent);
    const startedAt = performance.now();
    let doubtAt = startedAt + DOUBT_MS;
    let said: { readonly snapshot: RouteSnapshot; readonly at: number } | undefined;
    for (let restMs = PATIENCE_MS; ;) {
      await wakeup.sleep(restMs, signal);
      if (signal.aborted) return;
      const now = performance.now();
      const patient = now - startedAt < PATIENCE_MS;
      const view = this.#view;
      if (!isComplete(view, patient)) continue;
      if (now >= doubtAt) {
        answers.doubt();
        doubtAt = now + DOUBT_MS;
      }
      await answers.refresh(view, now, signal);
      const snapshot = this.#snapshot(view, answers, said?.snapshot);
      // Said again although nothing has changed, once the agent has been heard: so that its last word is never an old one.
      if (said?.snapshot.version !== snapshot.version || agent.lastAnswerAt - said.at > REPEAT_MS) {
        said = { snapshot, at: now };
        yield snapshot;
      }
      restMs = answers.settled ? REPEAT_MS : SETTLE_MS;
    }
  }

  #snapshot(view: KnownView, answers: ServiceAnswers, last: RouteSnapshot | undefined): RouteSnapshot {
    const { preset, expected } = this.#options;
    const { routes, problems } = this.#derive(...inputsOf(view, answers.services, preset, expected));
    const { trustDomain, index, own } = view;
    const registered = own?.kind === 'registered' || this.#notices.leaving;
    const remembered = this.#memory.recall({ routes, trustDomain, index, registered }, performance.now());
    const warnings = [
      ...this.#notices.texts,
      ...(remembered.warning === undefined ? [] : [remembered.warning]),
      ...warningsOf(view, answers.filtered),
      ...problemTexts(problems),
    ];
    return snapshotOf(remembered, warnings, last);
  }
}

type KnownView = MeshView & KnownEssentials;

function warningsOf({ failing, inventory, own }: KnownView, filtered: boolean): readonly string[] {
  return [
    ...Array.from(failing, ([part, reason]) => `${part}: ${reason}`),
    ...(inventory.partial ? [PARTIAL] : []),
    ...(filtered ? [FILTERED] : []),
    ...(own?.kind === 'registered' ? own.definition.problems : []),
  ];
}

function problemTexts(problems: readonly Problem[]): readonly string[] {
  const shown = problems.slice(0, MAX_PROBLEMS).map(formatProblem);
  return problems.length > shown.length ? [...shown, `and ${problems.length - shown.length} more problems`] : shown;
}

// Eight watches, a dozen questions at a time, and room for the questions of the lesser watches.
const SOCKETS = 24;
// Remote datacenters and everything else that is not essential must not keep local services waiting for longer.
const PATIENCE_MS = 700;
const REPEAT_MS = 15_000;
// Everything is asked for anew in this time, so that nothing that the coarse query may not show is wrong for longer.
const DOUBT_MS = 300_000;
// Enough to see what is wrong; a log line should stay a line.
const MAX_PROBLEMS = 20;
const PARTIAL = 'Consul\'s own servers are not visible: the token may lack service_prefix "" read';
const FILTERED = 'Consul leaves out what the token may not read: it may lack service_prefix "" or node_prefix "" read';

function inputsOf(
  view: KnownView,
  services: readonly CatalogService[],
  { partition }: Preset,
  expected: GatewayDefinition | undefined,
): readonly [Catalog, Gateway] {
  const { trustDomain, datacenter, dnsDomain, gateways, servers, own } = view;
  const definition = own?.kind === 'registered' ? own.definition : expected;
  const { wanFederation = false, connectTimeoutMs, remoteKeepAlive } = definition ?? {};
  const gateway = {
    wanFederation,
    ...(connectTimeoutMs === undefined ? {} : { connectTimeoutMs }),
    ...(remoteKeepAlive === undefined ? {} : { remoteKeepAlive }),
  };
  const place = { datacenter, trustDomain, dnsDomain, ...(partition === undefined ? {} : { partition }) };
  return [{ ...place, services, gateways, servers }, gateway];
}

type Derive = ReturnType<typeof routeDeriver>;

/** `derive`, which answers at once when every field of both arguments is the one of the last call. */
function remembering(derive: Derive): Derive {
  let last: { readonly inputs: readonly unknown[]; readonly derived: DerivedRoutes } | undefined;
  return (catalog, gateway) => {
    const inputs = [catalog, gateway].flatMap((part): unknown[] => Object.values(part));
    const isSame = last?.inputs.length === inputs.length && last.inputs.every((input, at) => input === inputs[at]);
    if (last === undefined || !isSame) last = { inputs, derived: derive(catalog, gateway) };
    return last.derived;
  };
}

/** Equal versions, equal routes and warnings. `last` itself when it says the same of the same routes. */
function snapshotOf(
  { routes }: Remembered,
  warnings: readonly string[],
  last: RouteSnapshot | undefined,
): RouteSnapshot {
  if (last?.routes === routes && (last.warnings ?? []).join('\n') === warnings.join('\n')) return last;
  const version = createHash('sha256')
    .update(JSON.stringify([routes, warnings]))
    .digest('base64url');
  return { version, routes, ...(warnings.length === 0 ? {} : { warnings }) };
}
