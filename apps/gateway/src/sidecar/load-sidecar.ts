import { stat } from 'node:fs/promises';
import { fileCredentials, identityOf, readCredentials } from '@meshgate/connect';
import { agentCertificates, consulProxyParts, optionsOf, parseSettings } from '@meshgate/consul-source';
import type { ProxyChoice } from '@meshgate/mesh';
import { ConfigProblems, nodeTransport } from '@meshgate/core';
import type { PluginMetrics, Problem, Service } from '@meshgate/core';
import { errorOf, PartsCollector, readRegularFile } from '@meshgate/core/parts';
import type { Authorizer, Credentials, CredentialsSource, ProxySource } from '@meshgate/mesh';
import { meshOptionsOf, meshProxySource, parseMeshConfig, readMeshProxy, tlsFilesOf } from '@meshgate/mesh-files';
import { baseDirOf } from '../config/base-dir.ts';
import type { Amend } from '../config/amend-config.ts';
import { awaitedBy, isMesh } from '../config/built-in.ts';
import { draftConfig, inOrder } from '../config/config.ts';
import type { PlacedUse, UnderstoodSettings } from '../config/config.ts';
import { readConfigText } from '../config/config-text.ts';
import { withoutStartProblems } from '../config/load-config.ts';
import type { LoadedConfig } from '../config/load-config.ts';
import { installPlugins } from '../config/plugins.ts';

/** The sources of a sidecar, from Consul or mesh files. */
export interface SidecarMaterial {
  readonly proxy: ProxySource;
  readonly credentials: CredentialsSource;
  /** Absent when the intentions from `proxy` decide. */
  readonly authorizer?: Authorizer;
  /** Services to start before the listeners, and to stop after them. */
  readonly services: readonly Service[];
}

/** A valid configuration of a sidecar. `parts` has neither its listeners nor its own source. */
export interface LoadedSidecar extends LoadedConfig {
  readonly material: SidecarMaterial;
}

/**
 * Reads the configuration of a sidecar: that of a gateway with one source, `use: consul` or `use: file` with `mesh`,
 * and without listeners, which are part of the proxy's own definition. Starts nothing.
 *
 * @param file `undefined` when `amend` alone makes the configuration
 * @throws ConfigProblems with every problem
 */
export async function loadSidecar(file: string | undefined, amend: Amend, choice: ProxyChoice): Promise<LoadedSidecar> {
  const baseDir = baseDirOf(file);
  const text = file === undefined ? '' : await readConfigText(file);
  const draft = draftConfig(file === undefined ? '{}' : text, file ?? NO_FILE, amend);
  const { config, understood, problems, uses, placed } = draft;
  const installed = await installPlugins(
    uses.filter(({ list }) => list === 'plugins'),
    { baseDir, process: 'single' },
  );
  const made = await materialOf(
    uses.filter(({ list }) => list === 'sources'),
    choice,
    { baseDir, metrics: installed.parts.lent.own('consul').metrics },
  );
  const own = made.kind === 'wrong' ? made.problems : [];
  const all = [...problems, ...[...installed.problems, ...own, ...misplacedIn(understood)].map(placed)];
  if (config === undefined || made.kind === 'wrong' || all.length > 0) throw new ConfigProblems(inOrder(all));
  // A sidecar terminates TLS, which requires node:tls.
  const transport = { kind: 'chosen', transport: nodeTransport(), declined: [] } as const;
  const { parts } = installed;
  const { material } = made;
  const warnings = [...installed.warnings, ...(made.warnings ?? [])];
  const awaited = made.awaited.map(placed);
  // The source adds no parts of plugins, but is compared when the configuration is read again.
  const sources = uses.flatMap((use) => (use.list === 'sources' ? [{ use, parts: new PartsCollector().parts }] : []));
  const loaded = { file, text, config, parts, uses: [...sources, ...installed.uses], transport, warnings, awaited };
  return { ...loaded, listening: [], material, proxyId: proxyIdOf(choice) };
}

/** Returns the id of the proxy. For a service instance this is Consul's default; `--proxy-id` selects another one. */
function proxyIdOf(choice: ProxyChoice): string {
  return 'proxyId' in choice ? choice.proxyId : `${choice.sidecarFor}-sidecar-proxy`;
}

/**
 * Like {@link loadSidecar}, with the problems and waits that a start would report.
 *
 * @throws ConfigProblems with all current and expected problems
 */
export async function checkSidecar(
  file: string | undefined,
  amend: Amend,
  choice: ProxyChoice,
): Promise<LoadedSidecar> {
  return withoutStartProblems(await loadSidecar(file, amend, choice), amend);
}

const NO_FILE = 'command line';

function misplacedIn({ listeners = [], workers = 1, transport }: UnderstoodSettings): readonly Problem[] {
  const problems: Problem[] = [];
  if (listeners.length > 0) problems.push({ message: NO_LISTENERS, path: ['listeners'] });
  if (workers !== 1)
    problems.push({ message: `expected 1 for a sidecar, found ${JSON.stringify(workers)}`, path: ['workers'] });
  if (transport !== undefined && transport.use !== 'auto' && transport.use !== 'node')
    problems.push({ message: `expected auto or node for a sidecar, found ${transport.use}`, path: ['transport'] });
  return problems;
}

const NO_LISTENERS =
  'expected none for a sidecar: its definition, in Consul or in the mesh files, has the addresses to listen on';

type Made =
  | {
      readonly kind: 'made';
      readonly material: SidecarMaterial;
      readonly warnings?: readonly string[];
      /** Files that cannot be used yet, with paths from the root of the configuration. */
      readonly awaited: readonly Problem[];
    }
  | { readonly kind: 'wrong'; readonly problems: readonly Problem[] };

/** Dependencies of a sidecar's source. */
interface SourceContext {
  readonly baseDir: string;
  readonly metrics: PluginMetrics;
}

async function materialOf(sources: readonly PlacedUse[], choice: ProxyChoice, context: SourceContext): Promise<Made> {
  const { baseDir } = context;
  const [source, ...others] = sources;
  if (source === undefined || others.length > 0)
    return wrong(['sources'], `${EXPECTED}, found ${sources.length} sources`);
  try {
    if (source.use === 'consul') {
      const material = fromConsul(source.settings, choice, context);
      const awaited = await awaitedBy(source.settings, baseDir);
      return {
        kind: 'made',
        material,
        awaited: awaited.map((one) => ({ ...one, path: [...source.path, ...one.path] })),
      };
    }
    if (source.use === 'file') return await fromFiles(source, choice, baseDir);
  } catch (reason) {
    if (!(reason instanceof ConfigProblems)) throw reason;
    return {
      kind: 'wrong',
      problems: reason.problems.map((problem) => ({ ...problem, path: [...source.path, ...problem.path] })),
    };
  }
  return wrong([...source.path, 'use'], `${EXPECTED}, found ${JSON.stringify(source.use)}`);
}

const EXPECTED = 'expected one source for a sidecar, consul or file with "mesh"';

function wrong(path: Problem['path'], message: string): Made {
  return { kind: 'wrong', problems: [{ path, message }] };
}

function fromConsul(settings: unknown, choice: ProxyChoice, { baseDir, metrics }: SourceContext): SidecarMaterial {
  const agent = { ...optionsOf(parseSettings(settings), baseDir), ...agentCertificates(metrics) };
  const material = consulProxyParts(agent, choice);
  return { ...material, services: [material.authorizer] };
}

async function fromFiles({ settings, path }: PlacedUse, choice: ProxyChoice, baseDir: string): Promise<Made> {
  if (!isMesh(settings)) return wrong(path, `${EXPECTED}, found route files`);
  const config = parseMeshConfig(settings);
  const tls = tlsFilesOf(config, baseDir);
  if (tls === undefined) return wrong(path, 'expected "tls" with ca, cert and key: a sidecar needs its own identity');
  const { trustDomain } = config;
  const options = { ...meshOptionsOf(config, baseDir), proxy: choice };
  // Reads all files, so that their problems are reported before a start.
  const { proxy, datacenter } = await readMeshProxy(options);
  const files = { ...tls, trustDomain, owner: { service: proxy.service, datacenter } };
  const material = { proxy: meshProxySource(options), credentials: fileCredentials(files), services: [] };
  const awaited = await unreadableOf([tls.ca, tls.cert, tls.key]);
  if (awaited.length > 0) return { kind: 'made', material, awaited };
  const identity = usableIdentity(await readCredentials(files));
  if (typeof identity === 'string') return wrong([...path, 'tls'], identity);
  return { kind: 'made', material, awaited, warnings: peerWarnings(identity) };
}

/** Returns the problems of missing or incomplete files, which their issuer may be about to write. */
async function unreadableOf(paths: readonly string[]): Promise<readonly Problem[]> {
  const problems = await Promise.all(
    paths.map(async (file): Promise<readonly Problem[]> => {
      const text = await readTextOf(file).catch(errorOf);
      if (typeof text === 'string' && text !== '') return [];
      const why = typeof text === 'string' ? 'is empty' : `cannot be read: ${text.message}`;
      return [{ message: why, path: [], at: { file, line: 1, column: 1 } }];
    }),
  );
  return problems.flat();
}

/** Accepts a folder of roots, which reports its own problems. */
async function readTextOf(path: string): Promise<string> {
  return (await stat(path)).isDirectory() ? 'a folder' : readRegularFile(path);
}

/** Returns OpenSSL's own error, for example about a short key, if the credentials are unusable. */
function usableIdentity(credentials: Credentials): ReturnType<typeof identityOf> | string {
  try {
    return identityOf(credentials);
  } catch (reason) {
    return `expected credentials that TLS accepts: ${reason instanceof Error ? reason.message : String(reason)}`;
  }
}

/** Returns warnings about peers with unusable roots; other peers are not affected. */
function peerWarnings({ peers }: ReturnType<typeof identityOf>): readonly string[] {
  return Array.from(peers.values()).flatMap((peer) =>
    peer.kind === 'refused' ? [`peer ${peer.peer}: no connection is possible, ${peer.reason}`] : [],
  );
}
