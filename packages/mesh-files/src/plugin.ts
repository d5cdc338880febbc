import { resolve } from 'node:path';
import {
  ConfigProblems,
  definePlugin,
  type ListenAddress,
  type Plugin,
  type PluginHost,
  type Route,
} from '@meshgate/core';
import { defined } from '@meshgate/core/parts';
import { type Field, type FieldEntry, openValue, type Parsed, parsePoll } from '@meshgate/documents';
import { exportRulesOf } from '@meshgate/mesh';
import type { ExportRules } from '@meshgate/mesh';
import type { PeerStandpoint } from './mesh.ts';
import { gatewaySnapshot, type MeshGatewayOptions, meshListenerSource, meshSource } from './mesh-source.ts';
import { gatewayChooser } from './own-gateway.ts';
import { readMesh } from './read-mesh.ts';

/**
 * The plugin `mesh-files`: adds the routes of a mesh gateway and, if the mesh files define that gateway, its listeners.
 */
export const meshFilesPlugin: Plugin = definePlugin<MeshConfig>({
  name: 'mesh-files',
  parse: parseMeshConfig,
  setup: addSources,
});

/** Settings of the plugin `mesh-files`. */
export interface MeshConfig extends ExportRules {
  /** Folder with one folder per datacenter, relative to the folder of the configuration file. */
  readonly mesh: string;
  /** Name of the local datacenter. */
  readonly datacenter: string;
  /** Trust domain of the whole mesh, `UUID.consul`, in lower case. */
  readonly trustDomain: string;
  /** Service id of the gateway's own definition; optional when the datacenter has one gateway. */
  readonly gateway?: string;
  /** Peers, by their local names. */
  readonly peers?: Readonly<Record<string, PeerConfig>>;
  /** Certificate files of a Connect proxy; a gateway needs none. */
  readonly tls?: ProxyTlsFiles;
  /** Name of the source. When absent: `mesh:` and the folder as written. */
  readonly name?: string;
  /** Poll interval in milliseconds, written as a duration; see `MeshOptions.pollMs`. */
  readonly pollMs?: number;
}

/** A peer, whose mesh files are in `peers/NAME` of the folder. */
export interface PeerConfig extends PeerStandpoint {
  /** PEM file with the peer's roots, for a Connect proxy only. Relative to the folder of the configuration file. */
  readonly ca?: string;
}

/** PEM files of a Connect proxy, relative to the folder of the configuration file. */
export interface ProxyTlsFiles {
  /** Roots of the mesh. */
  readonly ca: string;
  /** Leaf certificate of the proxy's service, followed by its intermediates. */
  readonly cert: string;
  /** Private key of the leaf certificate. */
  readonly key: string;
  /** Roots of peers, by local name; none when absent. */
  readonly peers?: Readonly<Record<string, string>>;
}

/** Parses the settings. @throws ConfigProblems with every problem, including unknown keys */
export function parseMeshConfig(settings: unknown): MeshConfig {
  const { root, problems } = openValue(settings);
  const fields = root.record(MESH_KEYS);
  const mesh = fields?.get('mesh')?.text();
  const datacenter = fields?.get('datacenter')?.parsed(parseDatacenter);
  const trustDomain = fields?.get('trustDomain')?.parsed(parseTrustDomain);
  const optional = {
    gateway: fields?.get('gateway')?.text(),
    httpExports: fields?.get('httpExports')?.oneOf(['refuse', 'passthrough'] as const),
    exportFailover: fields?.get('exportFailover')?.boolean(),
    peers: readPeers(fields?.get('peers')),
    tls: readTls(fields?.get('tls')),
    name: fields?.get('name')?.text(),
    pollMs: fields?.get('poll')?.parsed(parsePoll),
  };
  if (mesh === undefined || datacenter === undefined || trustDomain === undefined || problems.length > 0)
    throw new ConfigProblems(problems);
  return { mesh, datacenter, trustDomain, ...defined(optional) };
}

/** Returns the options of the sources that `config` describes, with paths relative to `baseDir`. */
export function meshOptionsOf(config: MeshConfig, baseDir: string): MeshGatewayOptions {
  const { mesh, name = `mesh:${mesh}`, tls: _forSidecars, ...rest } = config;
  return { folder: resolve(baseDir, mesh), name, ...rest };
}

/** Returns the PEM files in `config` as absolute paths; `undefined` when there are none. */
export function tlsFilesOf({ tls, peers = {} }: MeshConfig, baseDir: string): ProxyTlsFiles | undefined {
  if (tls === undefined) return undefined;
  const roots = Object.entries(peers).flatMap(([name, { ca }]) =>
    ca === undefined ? [] : [[name, resolve(baseDir, ca)]],
  );
  const own = { ca: resolve(baseDir, tls.ca), cert: resolve(baseDir, tls.cert), key: resolve(baseDir, tls.key) };
  return roots.length === 0 ? own : { ...own, peers: Object.fromEntries(roots) as Record<string, string> };
}

/** The result of a check of the files before anything starts. */
export interface CheckedMesh {
  /** Why the files do not define listen addresses; absent when they do. */
  readonly noListeners?: string;
  /** The addresses on which the gateway will listen. */
  readonly listening: readonly ListenAddress[];
  /** The routes of the gateway. */
  readonly routes: readonly Route[];
  /** Problems of parts without effect, with their positions, and warnings about the routes. */
  readonly warnings: readonly string[];
}

/**
 * Reads the files of these settings once, to report problems before anything starts.
 *
 * @throws ConfigProblems with every problem of the settings or the files; also when this gateway is ambiguous
 */
export async function checkMeshSettings(settings: unknown, baseDir: string): Promise<CheckedMesh> {
  const config = parseMeshConfig(settings);
  const mesh = await readMesh(resolve(baseDir, config.mesh), config);
  const own = gatewayChooser(config.gateway)(mesh);
  if (own.problem !== undefined) throw new ConfigProblems([own.problem]);
  const { routes, warnings = [] } = await gatewaySnapshot({ mesh, own, rules: exportRulesOf(config) });
  const listening = own.definition?.listeners ?? [];
  if (listening.length > 0) return { listening, routes, warnings };
  const [reason = `no mesh-gateway is defined in datacenter ${config.datacenter}`] = own.warnings;
  return { noListeners: reason, listening, routes, warnings };
}

function addSources(host: PluginHost, config: MeshConfig): void {
  const options = meshOptionsOf(config, host.baseDir);
  host.addSource(meshSource(options));
  host.addListenerSource(meshListenerSource(options));
}

const MESH_KEYS = {
  mesh: 'required',
  datacenter: 'required',
  trustDomain: 'required',
  gateway: 'optional',
  httpExports: 'optional',
  exportFailover: 'optional',
  peers: 'optional',
  tls: 'optional',
  name: 'optional',
  poll: 'optional',
} as const;

function readTls(field: Field | undefined): ProxyTlsFiles | undefined {
  const fields = field?.record({ ca: 'required', cert: 'required', key: 'required' });
  const [ca, cert, key] = [fields?.get('ca')?.text(), fields?.get('cert')?.text(), fields?.get('key')?.text()];
  return ca === undefined || cert === undefined || key === undefined ? undefined : { ca, cert, key };
}

const PEER_KEYS = { datacenter: 'required', trustDomain: 'required', knownAs: 'required', ca: 'optional' } as const;

function readPeers(field: Field | undefined): MeshConfig['peers'] {
  const peers = (field?.entries() ?? []).map((entry) => [entry.key, readPeer(entry)] as const);
  return field && (Object.fromEntries(peers.filter(([, peer]) => peer !== undefined)) as Record<string, PeerConfig>);
}

function readPeer({ key, value: field }: FieldEntry): PeerConfig | undefined {
  if (parsePeer(key).kind === 'refused')
    field.refuse(`expected ${PEER_FORM} as name of a peer, found ${JSON.stringify(key)}`);
  const fields = field.record(PEER_KEYS);
  const datacenter = fields?.get('datacenter')?.parsed(parseDatacenter);
  const trustDomain = fields?.get('trustDomain')?.parsed(parseTrustDomain);
  const knownAs = fields?.get('knownAs')?.parsed(parsePeer);
  const ca = fields?.get('ca')?.text();
  if (datacenter === undefined || trustDomain === undefined || knownAs === undefined) return undefined;
  return { datacenter, trustDomain, knownAs, ...defined({ ca }) };
}

/** Consul's rule for the name of a new peering, which becomes a label of server names. */
const PEER_FORM = 'lower-case letters, digits and hyphens';

function parsePeer(text: string): Parsed<string> {
  if (/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(text)) return { kind: 'value', value: text };
  return { kind: 'refused', expected: PEER_FORM };
}

/** Accepts names that can be a folder and a label of host names (as in Consul). */
function parseDatacenter(text: string): Parsed<string> {
  if (/^[\w-]+$/.test(text)) return { kind: 'value', value: text };
  return { kind: 'refused', expected: 'the name of a datacenter: letters, digits, hyphens and underscores' };
}

/** Returns lower case, because trust domains end server names, which are case-insensitive. */
function parseTrustDomain(text: string): Parsed<string> {
  const name = text.toLowerCase();
  if (/^[a-z\d_-]+(?:\.[a-z\d_-]+)*$/.test(name)) return { kind: 'value', value: name };
  return { kind: 'refused', expected: 'a trust domain such as 11111111-2222-3333-4444-555555555555.consul' };
}
