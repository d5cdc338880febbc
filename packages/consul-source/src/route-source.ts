import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { formatProblem } from '@meshgate/core';
import type { RouteSnapshot, RouteSource } from '@meshgate/core';
import { routeDeriver } from '@meshgate/mesh';
import type { Catalog, CatalogService, DerivedRoutes, Gateway } from '@meshgate/mesh';
import { openAgent } from './agent.ts';
import type { Agent, AgentOptions } from './agent.ts';
import type { Definition } from './definition.ts';
import { Memory } from './memory.ts';
import type { Remembered } from './memory.ts';
import { emptyView, isComplete, watchMesh } from './mesh-view.ts';
import type { KnownEssentials, MeshView, Preset } from './mesh-view.ts';
import { Notices } from './notices.ts';
import { ServiceAnswers } from './service-answers.ts';
import { Wakeup } from './wakeup.ts';

/** What {@link routeSource} follows. */
export interface RouteSourceOptions {
  readonly agent: AgentOptions;
  readonly preset: Preset;
  /** Shown among the warnings of every snapshot. */
  readonly notices?: Notices;
  /** What the gateway is about to be registered with: used as long as the agent does not know it. */
  readonly expected?: Definition;
}

/**
 * The routes of a mesh gateway as the local Consul agent knows them. It throws when the agent fails, so that whoever follows it
 * keeps the last routes and starts it again; what it then says again is checked against what it said before, see {@link Memory}.
 */
export function routeSource(sourceOptions: RouteSourceOptions): RouteSource {
  const { agent: options, preset, notices = new Notices(), expected } = sourceOptions;
  const view = emptyView(preset);
  const memory = new Memory();
  const derive = remembering(routeDeriver());
  return { name: 'consul', watch };

  async function* watch(signal: AbortSignal): AsyncGenerator<RouteSnapshot> {
    const scope = new AbortController();
    // Every question under way listens to it: that many are meant, and no leak.
    setMaxListeners(2 * SOCKETS, scope.signal);
    const end = (): void => scope.abort();
    signal.addEventListener('abort', end, { once: true });
    if (signal.aborted) end();
    const agent = openAgent(options, SOCKETS);
    const wakeup = new Wakeup();
    const silence = notices.listen(() => wakeup.signal());
    const watches = watchMesh(agent, view, preset, wakeup, scope.signal);
    try {
      yield* snapshots(agent, wakeup, scope.signal);
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

  async function* snapshots(agent: Agent, wakeup: Wakeup, signal: AbortSignal): AsyncGenerator<RouteSnapshot> {
    const answers = new ServiceAnswers(agent);
    const startedAt = performance.now();
    let doubtAt = startedAt + DOUBT_MS;
    let said: { readonly snapshot: RouteSnapshot; readonly at: number } | undefined;
    for (let restMs = PATIENCE_MS; ;) {
      await wakeup.sleep(restMs, signal);
      if (signal.aborted) return;
      const now = performance.now();
      const patient = now - startedAt < PATIENCE_MS;
      if (!isComplete(view, patient)) continue;
      if (now >= doubtAt) {
        answers.doubt();
        doubtAt = now + DOUBT_MS;
      }
      await answers.refresh(view, signal);
      const remembered = recall(view, derive(...inputsOf(view, answers.services, preset, expected)), now);
      const snapshot = snapshotOf(remembered, warningsOf(view, answers, remembered), said?.snapshot);
      // Said again although nothing has changed, once the agent has been heard: so that its last word is never an old one.
      if (said?.snapshot.version !== snapshot.version || agent.lastAnswerAt - said.at > REPEAT_MS) {
        said = { snapshot, at: now };
        yield snapshot;
      }
      restMs = REPEAT_MS;
    }
  }

  function recall(known: MeshView & KnownEssentials, { routes }: DerivedRoutes, now: number): Remembered {
    const { trustDomain, index, own } = known;
    return memory.recall(
      { routes, trustDomain, index, registered: own?.kind === 'registered' || notices.leaving },
      now,
    );
  }

  function warningsOf(
    known: MeshView & KnownEssentials,
    answers: ServiceAnswers,
    { warning }: Remembered,
  ): readonly string[] {
    const { problems } = derive(...inputsOf(known, answers.services, preset, expected));
    const definition = known.own?.kind === 'registered' ? known.own.definition.problems : [];
    const shown = problems.slice(0, MAX_PROBLEMS).map(formatProblem);
    return [
      ...notices.texts,
      ...(warning === undefined ? [] : [warning]),
      ...Array.from(known.failing, ([part, reason]) => `${part}: ${reason}`),
      ...(known.inventory.partial ? [PARTIAL] : []),
      ...(answers.filtered ? [FILTERED] : []),
      ...definition,
      ...shown,
      ...(problems.length > shown.length ? [`and ${problems.length - shown.length} more problems`] : []),
    ];
  }
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
  view: MeshView & KnownEssentials,
  services: readonly CatalogService[],
  { partition }: Preset,
  expected: Definition | undefined,
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
    const inputs = [...Object.values(catalog), ...Object.values(gateway)] as readonly unknown[];
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
