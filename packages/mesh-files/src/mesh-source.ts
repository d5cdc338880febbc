import { isAbsolute } from 'node:path';
import { ConfigProblems } from '@meshgate/core';
import type { ListenAddress, ListenerSource, Problem, RouteSnapshot } from '@meshgate/core';
import { defined, inTurns } from '@meshgate/core/parts';
import {
  digestOf,
  type FileSource,
  followFiles,
  type FileFollower,
  type ParseOutcome,
  type FollowedValue,
} from '@meshgate/documents';
import type { ExportRules, GatewayDefinition, ProxyChoice, ProxySource, ProxyView } from '@meshgate/mesh';
import { exportRulesOf, SnapshotVersions, steppedRouteDeriver } from '@meshgate/mesh';
import { closestMatch } from 'leven';
import { type Mesh, meshProxyView, type MeshStandpoint, sidecarsFor } from './mesh.ts';
import { gatewayChooser, type OwnGateway } from './own-gateway.ts';
import { meshParser, peersOf, readMesh, readMeshFiles, meshWatchPath } from './read-mesh.ts';

/** Settings of every source that follows a folder of mesh files. */
export interface MeshOptions extends MeshStandpoint {
  /** Absolute path of the folder with one folder per datacenter. */
  readonly folder: string;
  /** Name of the source, unique within the proxy; a metric label. When absent: `mesh:` and the folder. */
  readonly name?: string;
  /** Poll interval in milliseconds; see `FileSourceOptions.pollMs`. */
  readonly pollMs?: number;
}

/** Settings of the sources of a mesh gateway. */
export interface MeshGatewayOptions extends MeshOptions, ExportRules {
  /** Service id of the gateway's own definition. When absent, the only gateway of the datacenter. */
  readonly gateway?: string;
}

/**
 * Follows the routes of a mesh gateway in the local datacenter, derived from mesh files by the same function as from
 * Consul's responses. Follows the files like `fileSource`. Reports a warning for each part that cannot become a route.
 *
 * @throws TypeError when `folder` is not absolute
 */
export function meshSource(options: MeshGatewayOptions): FileSource {
  const follower = followGateway(options, 'routes');
  return { name: nameOf(options), watch, refresh: follower.refresh };

  async function* watch(signal: AbortSignal): AsyncGenerator<RouteSnapshot, void, void> {
    const derivation = newDerivation();
    let last: string | undefined;
    for await (const update of follower.watch(signal)) {
      const snapshot = await inTurns(snapshotOf(update, derivation));
      if (snapshot.version !== last) yield snapshot;
      last = snapshot.version;
    }
  }
}

/**
 * Follows the listen addresses in the gateway's own definition; none while the datacenter does not define it. `watch`
 * throws `ConfigProblems` when the first reading has several gateways and none is selected; later the selected one
 * remains.
 *
 * @throws TypeError when `folder` is not absolute
 */
export function meshListenerSource(options: MeshGatewayOptions): ListenerSource {
  const follower = followGateway(options, 'listeners');
  return { name: nameOf(options), watch };

  async function* watch(signal: AbortSignal): AsyncGenerator<readonly ListenAddress[], void, void> {
    let last: string | undefined;
    for await (const { value } of follower.watch(signal)) {
      const listeners = value.own.definition?.listeners ?? [];
      const text = JSON.stringify(listeners);
      if (text !== last) yield listeners;
      last = text;
    }
  }
}

/**
 * Follows the view of a Connect proxy in the local datacenter. `watch` also throws `ConfigProblems` when the first
 * reading does not have the proxy, or has several for the same instance; later the last view remains, with a warning.
 *
 * @throws TypeError when `folder` is not absolute
 */
export function meshProxySource(options: MeshOptions & { readonly proxy: ProxyChoice }): ProxySource {
  const { folder, proxy } = options;
  const parse = oneAtATime(meshParser(folder, options));
  const follower = followFiles(
    {
      what: 'upstreams',
      watchPath: () => meshWatchPath(folder, peersOf(options)),
      read: () => readMeshFiles(folder, peersOf(options)),
      parse: async (read) => asView(await parse(read), (mesh) => chooseProxy(mesh, proxy, folder)),
    },
    absolute(options),
  );
  return { name: nameOf(options), watch };

  async function* watch(signal: AbortSignal): AsyncGenerator<ProxyView, void, void> {
    let last: string | undefined;
    for await (const { value, warnings: found = [] } of follower.watch(signal)) {
      const warnings = [...found, ...(value.warnings ?? [])];
      const version = digestOf([JSON.stringify({ ...value, version: '' }), ...warnings]);
      if (version !== last) yield { ...value, version, ...(warnings.length === 0 ? {} : { warnings }) };
      last = version;
    }
  }
}

/**
 * Reads the view of a Connect proxy in the local datacenter once.
 *
 * @throws ConfigProblems with every problem of the files; also when they do not define the proxy, or define several for
 * the same instance
 * @throws TypeError when `folder` is not absolute
 */
export async function readMeshProxy(options: MeshOptions & { readonly proxy: ProxyChoice }): Promise<ProxyView> {
  const { folder, proxy } = absolute(options);
  const { view, problems } = chooseProxy(await readMesh(folder, options), proxy, folder);
  if (view === undefined) throw new ConfigProblems(problems);
  return view;
}

/** Derives the routes of one gateway. */
export function gatewaySnapshot(value: GatewayView): Promise<RouteSnapshot> {
  return inTurns(snapshotOf({ value }, newDerivation()));
}

/** A mesh, as seen by one of its gateways. */
export interface GatewayView {
  readonly mesh: Mesh;
  readonly own: OwnGateway;
  readonly rules: ExportRules;
}

function followGateway(options: MeshGatewayOptions, what: string): FileFollower<GatewayView> {
  const { folder, gateway } = options;
  const rules = exportRulesOf(options);
  const parse = oneAtATime(meshParser(folder, options));
  const choose = gatewayChooser(gateway);
  let isFirst = true;
  return followFiles(
    {
      what,
      watchPath: () => meshWatchPath(folder, peersOf(options)),
      read: () => readMeshFiles(folder, peersOf(options)),
      parse: async (read) => asGateway(await parse(read)),
    },
    absolute(options),
  );

  function asGateway(outcome: ParseOutcome<Mesh>): ParseOutcome<GatewayView> {
    if (outcome.kind === 'wrong') return outcome;
    const own = choose(outcome.value);
    if (outcome.kind === 'good' && isFirst && own.problem !== undefined)
      return { kind: 'wrong', problems: [{ ...own.problem, at: { file: folder, line: 1, column: 1 } }] };
    isFirst &&= outcome.kind !== 'good';
    return { ...outcome, value: { mesh: outcome.value, own, rules } };
  }
}

/**
 * Serialises a stateful parser, which works in turns of the event loop: a mesh of thousands of services takes a second,
 * and a follower may have several watchers.
 */
function oneAtATime<Read, Outcome>(parse: (read: Read) => Generator<void, Outcome>): (read: Read) => Promise<Outcome> {
  let last: Promise<unknown> = Promise.resolve();
  return (read) => {
    const next = last.then(() => inTurns(parse(read)));
    last = next.catch(() => undefined);
    return next;
  };
}

/** Keeps the last view of a proxy that was removed, or is no longer unique. */
function asView(outcome: ParseOutcome<Mesh>, choose: (mesh: Mesh) => ChosenProxy): ParseOutcome<ProxyView> {
  if (outcome.kind === 'wrong') return outcome;
  const { view, problems } = choose(outcome.value);
  if (view === undefined) return { kind: 'wrong', problems: outcome.kind === 'partial' ? outcome.problems : problems };
  const warnings = [...outcome.value.warnings, ...(view.warnings ?? [])];
  return { ...outcome, value: warnings.length === 0 ? view : { ...view, warnings } };
}

function absolute<Options extends MeshOptions>(options: Options): Options {
  if (isAbsolute(options.folder)) return options;
  throw new TypeError(`expected an absolute path, found ${JSON.stringify(options.folder)}`);
}

function nameOf({ name, folder }: MeshOptions): string {
  return name ?? `mesh:${folder}`;
}

/** A gateway without a definition still routes, with the proxy's defaults. */
const NO_DEFINITION: GatewayDefinition = { listeners: [], wanFederation: false, problems: [] };

/** State that is kept between snapshots. */
interface Derivation {
  readonly derive: ReturnType<typeof steppedRouteDeriver>;
  readonly versions: SnapshotVersions;
}

function newDerivation(): Derivation {
  return { derive: steppedRouteDeriver(), versions: new SnapshotVersions() };
}

function* snapshotOf(
  { value, warnings = [], asOf }: Pick<FollowedValue<GatewayView>, 'value' | 'warnings' | 'asOf'>,
  { derive, versions }: Derivation,
): Generator<void, RouteSnapshot> {
  const { mesh, own, rules } = value;
  const catalog = mesh.catalogs.get(mesh.datacenter);
  const definition = own.definition ?? NO_DEFINITION;
  const gateway = { ...definition, ...rules };
  const { routes, problems } = catalog === undefined ? NO_ROUTES : yield* derive(catalog, gateway);
  const all = [...warnings, ...own.warnings, ...mesh.warnings, ...definition.problems, ...problems.map(sentence)];
  // Computed from the routes, since a gateway uses only a part of the mesh files.
  const version = yield* versions.of(routes, all);
  return { version, routes, ...defined({ asOf }), ...(all.length === 0 ? {} : { warnings: all }) };
}

const NO_ROUTES = { routes: [], problems: [] } as const;

function sentence({ path, message }: Problem): string {
  return `${path.join('/')}: ${message}`;
}

interface ChosenProxy {
  readonly view: ProxyView | undefined;
  readonly problems: readonly Problem[];
}

function chooseProxy(mesh: Mesh, choice: ProxyChoice, folder: string): ChosenProxy {
  const ids = 'proxyId' in choice ? [choice.proxyId] : sidecarsFor(choice.sidecarFor, mesh);
  const [id, ...others] = ids;
  const view = id === undefined ? undefined : meshProxyView(mesh, id);
  if (view !== undefined && others.length === 0) return { view, problems: [] };
  const message = others.length > 0 ? severalProxies(choice, ids, mesh) : noProxy(choice, mesh);
  return { view: undefined, problems: [{ message, path: [], at: { file: folder, line: 1, column: 1 } }] };
}

function severalProxies(choice: ProxyChoice, ids: readonly string[], { datacenter }: Mesh): string {
  return `expected one proxy for ${chosenId(choice)} in datacenter ${datacenter}, found ${ids.join(', ')}: select it by its own id`;
}

/** Lists the known ids and suggests the intended one, which is often an id of the other kind. */
function noProxy(choice: ProxyChoice, { proxies, datacenter }: Mesh): string {
  const chosen = chosenId(choice);
  const byProxy = 'proxyId' in choice;
  const [own, served] = [
    [...proxies.keys()],
    [...proxies.values()].map(({ serviceId, service }) => serviceId ?? service),
  ];
  const [known, other] = byProxy ? [own, served] : [served, own];
  const what = byProxy ? `a proxy with the id ${chosen}` : `a proxy for ${chosen}`;
  const found =
    known.length === 0
      ? 'no proxy at all'
      : `${byProxy ? '' : 'proxies for '}${[...new Set(known)].toSorted().join(', ')}`;
  const sameInOtherCase = known.find((one) => one.toLowerCase() === chosen.toLowerCase());
  const nearest =
    sameInOtherCase ?? closestMatch(chosen, known, { maxDistance: Math.max(1, Math.floor(chosen.length / 2)) });
  const hint = nearest === undefined ? '' : `: did you mean ${JSON.stringify(nearest)}?`;
  const kind = byProxy ? 'a service that has a proxy' : 'the proxy itself';
  const mixedUp = other.includes(chosen) ? `: ${JSON.stringify(chosen)} is the id of ${kind}` : hint;
  return `expected ${what} in datacenter ${datacenter}, found ${found}${mixedUp}`;
}

function chosenId(choice: ProxyChoice): string {
  return 'proxyId' in choice ? choice.proxyId : choice.sidecarFor;
}
