import { isAbsolute } from 'node:path';
import { ConfigProblems } from '@meshgate/core';
import type { ListenAddress, ListenerSource, Problem, RouteSnapshot } from '@meshgate/core';
import {
  digestOf,
  type FileSource,
  followFiles,
  type FileFollower,
  type ParseOutcome,
  type FollowedValue,
} from '@meshgate/documents';
import type { GatewayDefinition, HttpExports, ProxyChoice, ProxySource, ProxyView } from '@meshgate/mesh';
import { routeDeriver } from '@meshgate/mesh';
import { closestMatch } from 'leven';
import { type Mesh, meshProxyView, type MeshStandpoint, sidecarsFor } from './mesh.ts';
import { gatewayChooser, type OwnGateway } from './own-gateway.ts';
import { meshParser, peersOf, readMesh, readMeshFiles, meshWatchPath } from './read-mesh.ts';

/** Settings of all that follows a folder of mesh files. */
export interface MeshOptions extends MeshStandpoint {
  /** The folder that holds a folder for each datacenter. Absolute. */
  readonly folder: string;
  /** Unique within the proxy; a metric label. `mesh:` and the folder when absent. */
  readonly name?: string;
  /** As in `FileSourceOptions`. */
  readonly pollMs?: number;
}

/** Settings of what a mesh gateway takes from mesh files. */
export interface MeshGatewayOptions extends MeshOptions {
  /** Service id of the gateway's own definition. When absent: the one of the datacenter that there is, if there is just one. */
  readonly gateway?: string;
  /** As `Gateway.httpExports` of `@meshgate/mesh`. */
  readonly httpExports?: HttpExports;
}

/**
 * The routes of a mesh gateway in the own datacenter, derived from mesh files by the same function as from Consul's answers, and
 * followed while the files change as `fileSource` follows route files. What cannot be made into a route is a warning.
 *
 * @throws TypeError when `folder` is not absolute
 */
export function meshSource(options: MeshGatewayOptions): FileSource {
  const follower = followGateway(options, 'routes');
  return { name: nameOf(options), watch, refresh: follower.refresh };

  async function* watch(signal: AbortSignal): AsyncGenerator<RouteSnapshot, void, void> {
    const derive = routeDeriver();
    let last: string | undefined;
    for await (const update of follower.watch(signal)) {
      const snapshot = snapshotOf(update, derive);
      if (snapshot.version !== last) yield snapshot;
      last = snapshot.version;
    }
  }
}

/**
 * Where the gateway's own definition says to listen: no address as long as the datacenter has no definition of it. `watch` throws
 * `ConfigProblems` when the first reading has several and none is chosen; later the one that was there first stays.
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
 * What a Connect proxy of the own datacenter runs by, followed while the files change. `watch` throws `ConfigProblems` also when the
 * first reading has no such proxy, or several for the same instance; later the last view stays, with a warning.
 *
 * @throws TypeError when `folder` is not absolute
 */
export function meshProxySource(options: MeshOptions & { readonly proxy: ProxyChoice }): ProxySource {
  const { folder, proxy } = options;
  const parse = meshParser(folder, options);
  const follower = followFiles(
    {
      what: 'upstreams',
      watchPath: () => meshWatchPath(folder, peersOf(options)),
      read: () => readMeshFiles(folder, peersOf(options)),
      parse: (read) => Promise.resolve(asView(parse(read), (mesh) => chooseProxy(mesh, proxy, folder))),
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
 * What a Connect proxy of the own datacenter runs by at this moment.
 *
 * @throws ConfigProblems with every problem of the files; also when they define no such proxy, or several for the same instance
 * @throws TypeError when `folder` is not absolute
 */
export async function readMeshProxy(options: MeshOptions & { readonly proxy: ProxyChoice }): Promise<ProxyView> {
  const { folder, proxy } = absolute(options);
  const { view, problems } = chooseProxy(await readMesh(folder, options), proxy, folder);
  if (view === undefined) throw new ConfigProblems(problems);
  return view;
}

/** What one of the gateways of a mesh routes by. */
export function gatewaySnapshot(value: GatewayView): RouteSnapshot {
  return snapshotOf({ value }, routeDeriver());
}

/** A mesh as one of its gateways sees it. */
export interface GatewayView {
  readonly mesh: Mesh;
  readonly own: OwnGateway;
  /** As `Gateway.httpExports` of `@meshgate/mesh`; `refuse` when absent. */
  readonly httpExports?: HttpExports | undefined;
}

function followGateway(options: MeshGatewayOptions, what: string): FileFollower<GatewayView> {
  const { folder, gateway, httpExports } = options;
  const parse = meshParser(folder, options);
  const choose = gatewayChooser(gateway);
  let isFirst = true;
  return followFiles(
    {
      what,
      watchPath: () => meshWatchPath(folder, peersOf(options)),
      read: () => readMeshFiles(folder, peersOf(options)),
      parse: (read) => Promise.resolve(asGateway(parse(read))),
    },
    absolute(options),
  );

  function asGateway(outcome: ParseOutcome<Mesh>): ParseOutcome<GatewayView> {
    if (outcome.kind === 'wrong') return outcome;
    const own = choose(outcome.value);
    if (outcome.kind === 'good' && isFirst && own.problem !== undefined)
      return { kind: 'wrong', problems: [{ ...own.problem, at: { file: folder, line: 1, column: 1 } }] };
    isFirst &&= outcome.kind !== 'good';
    return { ...outcome, value: { mesh: outcome.value, own, httpExports } };
  }
}

/** A proxy that is no longer there, or no longer the only one, stays as it was. */
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

/** Without a definition of its own a gateway still routes: only its settings are those of the proxy. */
const NO_DEFINITION: GatewayDefinition = { listeners: [], wanFederation: false, problems: [] };

function snapshotOf(
  { value, warnings = [], asOf }: Pick<FollowedValue<GatewayView>, 'value' | 'warnings' | 'asOf'>,
  derive: ReturnType<typeof routeDeriver>,
): RouteSnapshot {
  const { mesh, own, httpExports } = value;
  const catalog = mesh.catalogs.get(mesh.datacenter);
  const definition = own.definition ?? NO_DEFINITION;
  const gateway = httpExports === undefined ? definition : { ...definition, httpExports };
  const { routes, problems } = catalog === undefined ? NO_ROUTES : derive(catalog, gateway);
  const all = [...warnings, ...own.warnings, ...mesh.warnings, ...definition.problems, ...problems.map(sentence)];
  // Of the result: most of what mesh files say, a gateway does not care for.
  const version = digestOf([JSON.stringify(routes), ...all]);
  return { version, routes, ...(asOf !== undefined && { asOf }), ...(all.length === 0 ? {} : { warnings: all }) };
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
  return `expected one proxy for ${chosenId(choice)} in datacenter ${datacenter}, found ${ids.join(', ')}: choose by its own id`;
}

/** Which ids there are, and the one that was meant as far as that can be told: often it is of the other kind. */
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
