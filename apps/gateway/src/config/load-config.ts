import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { ConfigProblems } from '@meshgate/core';
import type { Endpoint, Problem, ProcessRole } from '@meshgate/core';
import { baseDirOf } from './base-dir.ts';
import { asWritten } from './amend-config.ts';
import { accessListProblems, withAbsoluteLists } from './access-lists.ts';
import type { Amend } from './amend-config.ts';
import { draftConfig, inOrder } from './config.ts';
import { readConfigText } from './config-text.ts';
import type { UnderstoodSettings } from './config.ts';
import type { GatewayConfig } from './config-schema.ts';
import type { InstalledParts } from './parts.ts';
import { installPlugins } from './plugins.ts';
import type { Installed, InstalledUse, PlacedListener } from './plugins.ts';
import { listenerUseProblems, offeredParts, routeUseProblems } from './part-uses.ts';
import { withReadyCheck } from './ready-check.ts';
import { startProblems, startWarnings } from './start-problems.ts';
import { ownBackendWarnings } from './own-backends.ts';
import { unknownListenerWarnings } from './unknown-listeners.ts';
import { builtInTransports, chooseTransport } from '../run/transport-choice.ts';
import type { ChosenTransport } from '../run/transport-choice.ts';
import { workerCount } from '../workers/shares.ts';
import { unsharedBy } from '../workers/unshared.ts';

/** A valid configuration, with everything that it names. */
export interface LoadedConfig {
  /** File name, as given; absent without a file. */
  readonly file: string | undefined;
  /** Sidecars only: service id of the proxy, as far as the command line names it. Absent for a gateway. */
  readonly proxyId?: string;
  /** Contents of the file; `''` without a file. */
  readonly text: string;
  /** The configuration, with absolute paths. */
  readonly config: GatewayConfig;
  readonly parts: InstalledParts;
  /** The parts that each plugin added; `parts` has all of them. */
  readonly uses: readonly InstalledUse[];
  readonly transport: ChosenTransport;
  /** Warnings about the files of plugins, with their positions. */
  readonly warnings: readonly string[];
  /** Addresses on which sources will listen, besides `listeners`, as far as they are known. */
  readonly listening: readonly PlacedListener[];
  /** Files that sources need and cannot use yet, with their positions in the configuration: a start waits for them. */
  readonly awaited: readonly Problem[];
}

/**
 * Reads a configuration file, amends it, loads and installs its plugins, and checks the files that it names. Starts
 * nothing.
 *
 * @param file `undefined` when `amend` alone makes the configuration
 * @param earlier the configuration in use, whose unchanged plugins and transport are kept
 * @throws ConfigProblems with every problem in all of these files
 */
export async function loadConfig(
  file: string | undefined,
  amend: Amend = asWritten,
  earlier?: LoadedConfig,
): Promise<LoadedConfig> {
  const baseDir = baseDirOf(file);
  const text = file === undefined ? '' : await readConfigText(file);
  const draft = draftConfig(file === undefined ? '{}' : text, file ?? NO_FILE, amend);
  const { config, understood, problems, placed } = draft;
  const location = { baseDir, process: roleOf(understood) };
  const before = earlier && { uses: earlier.uses, lent: earlier.parts.lent };
  const wanted = withReadyCheck(draft.uses, config?.admin ?? []);
  const installed = await installPlugins(wanted, location, before);
  const { transport, problems: ofTransport } = await transportOf(understood, installed, earlier);
  const ofUses = installed.complete ? useProblems(understood, installed) : [];
  const ofLists = await accessListProblems(understood.listeners ?? [], installed.routes, baseDir);
  const ofParts = [...ofTransport, ...ofUses, ...ofLists];
  const together = [...installed.problems, ...lacksOf(understood, installed), ...ofParts];
  const wrong = [...problems, ...together.map(placed)];
  if (config === undefined || transport === undefined || wrong.length > 0) throw new ConfigProblems(inOrder(wrong));
  const { parts, uses } = installed;
  // Listeners of a source are not known yet.
  const ofListeners =
    parts.listenerSources.length > 0 ? [] : unknownListenerWarnings(installed.routes, config.listeners);
  const { listening } = installed;
  const own = ownBackendWarnings(installed.routes, [...config.listeners, ...listening.map(({ at }) => at)]);
  const warnings = [...installed.warnings, ...ofListeners, ...own];
  const awaited = installed.awaited.map(placed);
  return {
    file,
    text,
    config: withAbsolutePaths(config, baseDir),
    parts,
    uses,
    transport,
    warnings,
    listening,
    awaited,
  };
}

/**
 * Returns the first address of the admin API in a configuration, as far as it is known before a start. Never rejects,
 * even when the file is invalid.
 *
 * @param file `undefined` without a file. A pipe is not read, since it has its contents only once
 */
export async function configuredAdmin(file: string | undefined, amend: Amend): Promise<Endpoint | undefined> {
  const isFile = file !== undefined && (await stat(file).catch(() => undefined))?.isFile() === true;
  if (file !== undefined && !isFile) return undefined;
  const text = file === undefined ? '{}' : await readConfigText(file).catch(() => '{}');
  const { admin = [] } = draftConfig(text, file ?? NO_FILE, amend).understood;
  return admin.map(({ endpoint }) => endpoint).find(({ host, port }) => port !== 0 || host.startsWith('unix:'));
}

function useProblems({ listeners = [] }: UnderstoodSettings, { routes, parts }: Installed): readonly Problem[] {
  const offered = offeredParts(parts);
  return [...routeUseProblems(routes, offered), ...listenerUseProblems(listeners, offered)];
}

/** Returns the role of this process once it runs, for plugins. */
function roleOf({ workers = 1 }: UnderstoodSettings): ProcessRole {
  return workerCount(workers) > 1 ? 'primary' : 'single';
}

/** The file name for problems without a position. */
const NO_FILE = 'command line';

/**
 * Like {@link loadConfig}, with the problems that a start would report.
 *
 * @throws ConfigProblems with all current and expected problems
 */
export async function checkConfig(file: string | undefined, amend: Amend = asWritten): Promise<LoadedConfig> {
  return withoutStartProblems(await loadConfig(file, amend), amend);
}

/**
 * Returns the loaded configuration with the warnings of a start.
 *
 * @throws ConfigProblems with every problem that would fail or delay a start
 */
export async function withoutStartProblems<Loaded extends LoadedConfig>(loaded: Loaded, amend: Amend): Promise<Loaded> {
  const { file, text, config, listening, awaited } = loaded;
  const problems = await startProblems(config, listening);
  if (problems.length + awaited.length === 0)
    return { ...loaded, warnings: [...loaded.warnings, ...startWarnings(config)] };
  const { placed } = draftConfig(file === undefined ? '{}' : text, file ?? NO_FILE, amend);
  throw new ConfigProblems(inOrder([...problems.map(placed), ...awaited]));
}

interface TransportFound {
  /** Absent when there is, or may be, a problem. */
  readonly transport?: ChosenTransport;
  readonly problems: readonly Problem[];
}

async function transportOf(
  settings: UnderstoodSettings,
  { parts, complete }: Installed,
  earlier?: LoadedConfig,
): Promise<TransportFound> {
  if (settings.transport === undefined) return { problems: [] };
  const { use, splice } = settings.transport;
  if (earlier !== undefined && isDeepStrictEqual(settings.transport, earlier.config.transport))
    return { transport: earlier.transport, problems: unsharedBy(settings) };
  const choice = await chooseTransport(use, parts.transports, builtInTransports(splice));
  if (choice.kind === 'chosen') return { transport: choice, problems: unsharedBy(settings) };
  // A plugin that could not be installed may be the one that adds the transport.
  return { problems: complete ? [{ message: choice.reason, path: ['transport'] }] : [] };
}

/** Reports missing parts, unless a plugin that could not be installed may add them, or they exist but are invalid. */
function lacksOf(
  { listeners, sources }: UnderstoodSettings,
  { parts, complete, noListeners }: Installed,
): readonly Problem[] {
  const problems: Problem[] = [];
  if (!complete) return problems;
  if (sources?.length === 0 && parts.sources.length === 0)
    problems.push({ message: 'expected at least one source of routes, found none', path: ['sources'] });
  if (listeners?.length === 0 && parts.listenerSources.length <= noListeners.length) {
    const why = noListeners.map((reason) => `: ${reason}`).join('');
    problems.push({ message: `expected at least one listener, found none${why}`, path: ['listeners'] });
  }
  return problems;
}

function withAbsolutePaths(config: GatewayConfig, baseDir: string): GatewayConfig {
  const { stateDir } = config;
  return {
    ...config,
    listeners: config.listeners.map((listener) => withAbsoluteLists(listener, baseDir)),
    admin: config.admin.map(({ tokenFile, ...one }) => ({
      ...one,
      ...(tokenFile !== undefined && { tokenFile: resolve(baseDir, tokenFile) }),
    })),
    ...(stateDir !== undefined && { stateDir: resolve(baseDir, stateDir) }),
  };
}
