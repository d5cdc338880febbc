import { isAbsolute, resolve } from 'node:path';
import { ConfigProblems, definePlugin, type Plugin, type PluginHost } from '@meshgate/core';
import { openValue } from './document.ts';
import { DURATION_FORM, MAX_TIMER_MS, parseDuration } from './duration.ts';
import type { Field, Parsed } from './field.ts';
import { type MeshGatewayOptions, meshListenerSource, meshSource } from './mesh/mesh-source.ts';
import { readMesh } from './mesh/read-mesh.ts';
import { readRoutes } from './routes/read-routes.ts';
import { fileSource, type FileSource } from './source.ts';

/**
 * The plugin `file`. With `path` it adds a {@link fileSource} of route files; with `mesh` the routes of a mesh gateway and, where the
 * mesh files define that gateway, its listeners.
 */
export const fileSourcePlugin: Plugin = definePlugin<FileSettings>({
  name: 'file',
  parse: parseFileSettings,
  setup: addSources,
});

/** Settings of the plugin, as they are written. */
export type FileSettings =
  | { readonly kind: 'routes'; readonly config: FileSourceConfig }
  | { readonly kind: 'mesh'; readonly config: MeshConfig };

/** Settings for route files. */
export interface FileSourceConfig {
  /** Route file or folder, relative to the folder of the configuration. */
  readonly path: string;
  /** Name of the source. `file:` and the path as written when absent. */
  readonly name?: string;
  /** As `FileSourceOptions.pollMs`; written as a duration. */
  readonly pollMs?: number;
}

/** Settings for mesh files. */
export interface MeshConfig {
  /** Folder with a folder for each datacenter, relative to the folder of the configuration. */
  readonly mesh: string;
  /** The own datacenter. */
  readonly datacenter: string;
  /** Of the whole mesh: `UUID.consul`. In lower case. */
  readonly trustDomain: string;
  /** Service id of the gateway's own definition; may be left out when the datacenter has one gateway. */
  readonly gateway?: string;
  /** For a Connect proxy only: a gateway needs no key. */
  readonly tls?: TlsFiles;
  /** Name of the source. `mesh:` and the folder as written when absent. */
  readonly name?: string;
  /** As `FileSourceOptions.pollMs`; written as a duration. */
  readonly pollMs?: number;
}

/** PEM files of a Connect proxy, relative to the folder of the configuration. */
export interface TlsFiles {
  /** Roots that other proxies are trusted by. */
  readonly ca: string;
  /** Leaf certificate of the proxy's service, with the intermediates behind it. */
  readonly cert: string;
  /** Private key of the leaf. */
  readonly key: string;
}

/** @throws ConfigProblems with every problem, also for keys that are not known */
export function parseFileSettings(settings: unknown): FileSettings {
  const isMesh = typeof settings === 'object' && settings !== null && 'mesh' in settings;
  if (isMesh) return { kind: 'mesh', config: parseMeshConfig(settings) };
  return { kind: 'routes', config: parseFileSourceConfig(settings) };
}

/** Settings for route files. @throws ConfigProblems with every problem, also for keys that are not known */
export function parseFileSourceConfig(config: unknown): FileSourceConfig {
  const { root, problems } = openValue(config);
  const fields = root.record({ path: 'required', name: 'optional', poll: 'optional' });
  const path = fields?.get('path')?.text();
  const shared = readShared(fields);
  if (path === undefined || problems.length > 0) throw new ConfigProblems(problems);
  return { path, ...shared };
}

/** The source that `config` describes, with its path taken from `baseDir`. */
export function fileSourceOf({ path, name = `file:${path}`, ...rest }: FileSourceConfig, baseDir: string): FileSource {
  return fileSource({ path: within(baseDir, path), name, ...rest });
}

/** What follows the mesh files that `config` describes, with paths taken from `baseDir`. */
export function meshOptionsOf(config: MeshConfig, baseDir: string): MeshGatewayOptions {
  const { mesh, name = `mesh:${mesh}`, tls: _forSidecars, ...rest } = config;
  return { folder: within(baseDir, mesh), name, ...rest };
}

/** The PEM files that `config` names, as absolute paths; `undefined` when it names none. */
export function tlsFilesOf({ tls }: MeshConfig, baseDir: string): TlsFiles | undefined {
  if (tls === undefined) return undefined;
  return { ca: within(baseDir, tls.ca), cert: within(baseDir, tls.cert), key: within(baseDir, tls.key) };
}

/**
 * Reads once what the plugin would read with these settings, to say what is wrong before anything is started.
 *
 * @throws ConfigProblems with every problem of the settings, or of the files
 */
export async function checkFileSettings(settings: unknown, baseDir: string): Promise<void> {
  const { kind, config } = parseFileSettings(settings);
  if (kind === 'routes') await readRoutes(within(baseDir, config.path));
  else await readMesh(within(baseDir, config.mesh), config);
}

function addSources(host: PluginHost, { kind, config }: FileSettings): void {
  if (kind === 'routes') {
    host.addSource(fileSourceOf(config, host.baseDir));
    return;
  }
  const options = meshOptionsOf(config, host.baseDir);
  host.addSource(meshSource(options));
  host.addListenerSource(meshListenerSource(options));
}

function within(baseDir: string, path: string): string {
  return isAbsolute(path) ? path : resolve(baseDir, path);
}

const MESH_KEYS = {
  mesh: 'required',
  datacenter: 'required',
  trustDomain: 'required',
  gateway: 'optional',
  tls: 'optional',
  name: 'optional',
  poll: 'optional',
} as const;

function parseMeshConfig(settings: unknown): MeshConfig {
  const { root, problems } = openValue(settings);
  const fields = root.record(MESH_KEYS);
  const mesh = fields?.get('mesh')?.text();
  const datacenter = fields?.get('datacenter')?.parsed(parseDatacenter);
  const trustDomain = fields?.get('trustDomain')?.parsed(parseTrustDomain);
  const gateway = fields?.get('gateway')?.text();
  const tls = readTls(fields?.get('tls'));
  const shared = readShared(fields);
  if (mesh === undefined || datacenter === undefined || trustDomain === undefined || problems.length > 0)
    throw new ConfigProblems(problems);
  const optional = { ...(gateway !== undefined && { gateway }), ...(tls !== undefined && { tls }) };
  return { mesh, datacenter, trustDomain, ...optional, ...shared };
}

function readTls(field: Field | undefined): TlsFiles | undefined {
  const fields = field?.record({ ca: 'required', cert: 'required', key: 'required' });
  const [ca, cert, key] = [fields?.get('ca')?.text(), fields?.get('cert')?.text(), fields?.get('key')?.text()];
  return ca === undefined || cert === undefined || key === undefined ? undefined : { ca, cert, key };
}

function readShared(fields: ReadonlyMap<string, Field> | undefined): Pick<FileSourceConfig, 'name' | 'pollMs'> {
  const name = fields?.get('name')?.text();
  const pollMs = fields?.get('poll')?.parsed(parsePoll);
  return { ...(name !== undefined && { name }), ...(pollMs !== undefined && { pollMs }) };
}

function parsePoll(text: string): Parsed<number> {
  const pollMs = parseDuration(text);
  if (pollMs !== undefined && pollMs <= MAX_TIMER_MS) return { kind: 'value', value: pollMs };
  return { kind: 'refused', expected: `${DURATION_FORM}, or 0s for never` };
}

/** It is the name of a folder and a label of host names (as in Consul). */
function parseDatacenter(text: string): Parsed<string> {
  if (/^[\w-]+$/.test(text)) return { kind: 'value', value: text };
  return { kind: 'refused', expected: 'the name of a datacenter: letters, digits, hyphens and underscores' };
}

/** Server names end in it, which are compared without regard to case. */
function parseTrustDomain(text: string): Parsed<string> {
  const name = text.toLowerCase();
  if (/^[a-z\d_-]+(?:\.[a-z\d_-]+)*$/.test(name)) return { kind: 'value', value: name };
  return { kind: 'refused', expected: 'a trust domain such as 11111111-2222-3333-4444-555555555555.consul' };
}
