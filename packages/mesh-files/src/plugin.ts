import { resolve } from 'node:path';
import {
  ConfigProblems,
  definePlugin,
  type ListenAddress,
  type Plugin,
  type PluginHost,
  type Route,
} from '@meshgate/core';
import { type Field, type FieldEntry, openValue, type Parsed, parsePoll } from '@meshgate/documents';
import { exportRulesOf } from '@meshgate/mesh';
import type { ExportRules } from '@meshgate/mesh';
import type { PeerStandpoint } from './mesh.ts';
import { gatewaySnapshot, type MeshGatewayOptions, meshListenerSource, meshSource } from './mesh-source.ts';
import { present } from './present.ts';
import { gatewayChooser } from './own-gateway.ts';
import { readMesh } from './read-mesh.ts';

/** The plugin `mesh-files`: adds the routes of a mesh gateway and, if the mesh files define that gateway, its listeners. */
export const meshFilesPlugin: Plugin = definePlugin<MeshConfig>({
  name: 'mesh-files',
  parse: parseMeshConfig,
  setup: addSources,
});

/** Settings of the plugin. */
export interface MeshConfig extends ExportRules {
  /** Folder with one folder per datacenter, relative to the folder of the configuration file. */
  readonly mesh: string;
  /** The local datacenter. */
  readonly datacenter: string;
  /** Of the whole mesh: `UUID.consul`. In lower case. */
  readonly trustDomain: string;
  /** Service id of the gateway's own definition; optional when the datacenter has one gateway. */
  readonly gateway?: string;
  /** Other clusters, by the names that this one gives to them. */
  readonly peers?: Readonly<Record<string, PeerConfig>>;
  /** For a Connect proxy only: a gateway needs no key. */
  readonly tls?: ProxyTlsFiles;
  /** Name of the source. `mesh:` and the folder as written when absent. */
  readonly name?: string;
  /** As `MeshOptions.pollMs`; written as a duration. */
  readonly pollMs?: number;
}

/** Another cluster, whose mesh files are in `peers/NAME` of the folder. */
export interface PeerConfig extends PeerStandpoint {
  /** PEM file of its roots, for a Connect proxy only. Relative to the folder of the configuration file. */
  readonly ca?: string;
}

/** PEM files of a Connect proxy, relative to the folder of the configuration file. */
export interface ProxyTlsFiles {
  /** Roots that this proxy trusts. */
  readonly ca: string;
  /** Leaf certificate of the proxy's service, followed by its intermediates. */
  readonly cert: string;
  /** Private key of the leaf. */
  readonly key: string;
  /** Roots of peers, by their names; none when absent. */
  readonly peers?: Readonly<Record<string, string>>;
}

/** @throws ConfigProblems with every problem, unknown keys included */
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
  return { mesh, datacenter, trustDomain, ...present(optional) };
}

/** The source of the mesh files that `config` describes, with paths relative to `baseDir`. */
export function meshOptionsOf(config: MeshConfig, baseDir: string): MeshGatewayOptions {
  const { mesh, name = `mesh:${mesh}`, tls: _forSidecars, ...rest } = config;
  return { folder: resolve(baseDir, mesh), name, ...rest };
}

/** The PEM files that `config` names, as absolute paths; `undefined` when there are none. */
export function tlsFilesOf({ tls, peers = {} }: MeshConfig, baseDir: string): ProxyTlsFiles | undefined {
  if (tls === undefined) return undefined;
  const roots = Object.entries(peers).flatMap(([name, { ca }]) =>
    ca === undefined ? [] : [[name, resolve(baseDir, ca)]],
  );
  const own = { ca: resolve(baseDir, tls.ca), cert: resolve(baseDir, tls.cert), key: resolve(baseDir, tls.key) };
  return roots.length === 0 ? own : { ...own, peers: Object.fromEntries(roots) as Record<string, string> };
}

/** What a check of the files reports before anything is started. */
export interface CheckedMesh {
  /** Why the files do not define where to listen; absent when they do. */
  readonly noListeners?: string;
  /** Where the gateway will listen. */
  readonly listening: readonly ListenAddress[];
  /** What it will route. */
  readonly routes: readonly Route[];
  /** Parts without effect, each with its position, and warnings about the routes. */
  readonly warnings: readonly string[];
}

/**
 * Reads once what the plugin would read with these settings, to report problems before anything is started.
 *
 * @throws ConfigProblems with every problem of the settings or the files; also when the own gateway is ambiguous
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
  return { datacenter, trustDomain, knownAs, ...present({ ca }) };
}

/** As Consul validates it when a peering is created: the name becomes a label of server names. */
const PEER_FORM = 'lower-case letters, digits and hyphens';

function parsePeer(text: string): Parsed<string> {
  if (/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(text)) return { kind: 'value', value: text };
  return { kind: 'refused', expected: PEER_FORM };
}

/** It names a folder and is a label of host names (as in Consul). */
function parseDatacenter(text: string): Parsed<string> {
  if (/^[\w-]+$/.test(text)) return { kind: 'value', value: text };
  return { kind: 'refused', expected: 'the name of a datacenter: letters, digits, hyphens and underscores' };
}

/** Server names end in it, and those are compared without regard to case. */
function parseTrustDomain(text: string): Parsed<string> {
  const name = text.toLowerCase();
  if (/^[a-z\d_-]+(?:\.[a-z\d_-]+)*$/.test(name)) return { kind: 'value', value: name };
  return { kind: 'refused', expected: 'a trust domain such as 11111111-2222-3333-4444-555555555555.consul' };
}
