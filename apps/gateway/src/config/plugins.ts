import { setImmediate as nextTurn } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { ListenAddress, Plugin, Problem, Route } from '@meshgate/core';
import { PartsCollector } from '@meshgate/core/parts';
import type { PluginParts } from '@meshgate/core/parts';
import { BUILT_IN, NOTHING_FOUND } from './built-in.ts';
import type { PluginCheck } from './built-in.ts';
import type { PlacedUse } from './config.ts';
import { watchForBlocking } from './blocking-watch.ts';
import { codePosition } from './code-position.ts';
import { loadPlugin, pluginFolder } from './load-plugin.ts';
import type { InstalledParts } from './parts.ts';
import { problemsOf } from './plugin-problems.ts';
import { PluginServices } from './plugin-services.ts';
import type { PluginLease, PluginContext } from './plugin-services.ts';
import { settledWithin } from './settled-within.ts';
import { onStray } from '../run/stray-error.ts';

/** The installed plugins of a configuration. */
export interface Installed {
  readonly parts: InstalledParts;
  /** Every problem, with paths from the root of the configuration; positions only for other files. */
  readonly problems: readonly Problem[];
  /**
   * Whether every plugin is installed, whatever the problems of its files: no part that a plugin may add is missing.
   */
  readonly complete: boolean;
  /** Why a listener source has no listener, by source, when known. */
  readonly noListeners: readonly string[];
  /** Addresses on which listener sources will listen, as far as they are known. */
  readonly listening: readonly PlacedListener[];
  /** Settings without effect in the files of plugins, with their positions. */
  readonly warnings: readonly string[];
  /** Files that plugins wait for once they run; paths from the root of the configuration. */
  readonly awaited: readonly Problem[];
  /** Current routes of the route files. */
  readonly routes: readonly Route[];
  /** The parts that each use added, for a later installation that reuses them. */
  readonly uses: readonly InstalledUse[];
}

/** A listen address that is not in the configuration's own list. */
export interface PlacedListener {
  readonly at: ListenAddress;
  /** Path of the source, from the root of the configuration. */
  readonly path: Problem['path'];
}

/** An installed plugin. */
export interface InstalledUse {
  readonly use: PlacedUse;
  readonly parts: PluginParts;
  /** Services of the plugin; absent when it could not be loaded. */
  readonly lease?: PluginLease | undefined;
}

/** Installed plugins, some of which can be reused. */
export interface Earlier {
  readonly uses: readonly InstalledUse[];
  readonly lent: PluginServices;
}

/**
 * Loads and installs `uses`, one after the other, and checks their files. Starts nothing. Never rejects: a plugin's
 * failure becomes a problem of the configuration that names it.
 *
 * @param earlier an earlier installation, whose unchanged uses are kept with their parts
 */
export async function installPlugins(
  uses: readonly PlacedUse[],
  context: PluginContext,
  earlier?: Earlier,
): Promise<Installed> {
  const lent = earlier?.lent ?? new PluginServices(context);
  const during = earlier === undefined ? 'start' : 'reload';
  const work: Work = { context, during, collector: new PartsCollector(true), lent };
  const remaining = new Set(earlier?.uses);
  const problems: Problem[] = [];
  const checks: PluginCheck[] = [];
  const listening: PlacedListener[] = [];
  const installedUses: InstalledUse[] = [];
  let complete = true;
  for (const use of uses) {
    const before = work.collector.sizes;
    const kept = Array.from(remaining).find((one) => isSameUse(one.use, use));
    if (kept !== undefined) {
      remaining.delete(kept);
      work.collector.include(kept.parts);
      installedUses.push({ ...kept, use });
      continue;
    }
    const outcome = await install(use, work);
    installedUses.push({ use, parts: work.collector.since(before), lease: outcome.lease });
    // Pushed one by one: a file may have more problems than a call can have arguments.
    for (const problem of outcome.problems) problems.push(problem);
    checks.push(outcome.checked);
    listening.push(...(outcome.checked.listening ?? []).map((at) => ({ at, path: use.path })));
    complete &&= outcome.installed;
  }
  const parts = { ...work.collector.parts, lent: work.lent };
  return {
    parts,
    problems: [...problems, ...repeatedNames(parts)],
    complete,
    listening,
    noListeners: checks.flatMap(({ noListeners }) => noListeners ?? []),
    warnings: checks.flatMap(({ warnings }) => warnings),
    awaited: checks.flatMap(({ awaited = [] }) => awaited),
    routes: checks.flatMap(({ routes = [] }) => routes),
    uses: installedUses,
  };
}

/** Combines the parts of all `uses`, in order. */
export function partsOf(uses: readonly InstalledUse[], lent: PluginServices): InstalledParts {
  const collector = new PartsCollector();
  for (const { parts } of uses) collector.include(parts);
  return { ...collector.parts, lent };
}

/** Compares two uses, regardless of their indexes in the list. */
function isSameUse(one: PlacedUse, other: PlacedUse): boolean {
  return one.list === other.list && one.use === other.use && isDeepStrictEqual(one.settings, other.settings);
}

interface Work {
  readonly context: PluginContext;
  readonly during: 'start' | 'reload';
  readonly collector: PartsCollector;
  readonly lent: PluginServices;
}

interface InstallOutcome {
  readonly lease?: PluginLease;
  readonly installed: boolean;
  readonly problems: readonly Problem[];
  readonly checked: PluginCheck;
}

async function install(use: PlacedUse, work: Work): Promise<InstallOutcome> {
  if (BUILT_IN.some(({ plugin }) => plugin.name === use.use)) return installUse(use, work);
  const blocked = watchForBlocking(`${use.use}: it blocks the event loop while it is loaded or installed`, work.during);
  const folder = pluginFolder(use.use, work.context.baseDir);
  const strays: Problem[] = [];
  const release = onStray((error) => {
    const at = codePosition(error, folder);
    if (at === undefined) return false;
    strays.push({ path: use.path, message: `${use.use}: uncaught error: ${error.message} (at ${at})` });
    return true;
  });
  try {
    const outcome = await installUse(use, work);
    // Node reports rejections at the end of a turn.
    await nextTurn();
    return strays.length === 0 ? outcome : { ...outcome, problems: [...outcome.problems, ...strays] };
  } finally {
    release();
    blocked.end();
  }
}

async function installUse(use: PlacedUse, { context, collector, lent }: Work): Promise<InstallOutcome> {
  const loaded = await load(use, context.baseDir);
  if (loaded.kind === 'problem')
    return { ...UNSEEN, installed: false, problems: [{ message: loaded.message, path: use.path }] };
  const { plugin } = loaded;
  const before = collector.parts.sources.length;
  const lease = lent.lend(plugin.name);
  const { host, close } = collector.hostFor(plugin.name, lease.services);
  let installed = false;
  let checked = NOTHING_FOUND;
  try {
    await settledWithin(
      INSTALL_PATIENCE_MS,
      async () => plugin.install(host, use.settings),
      'it did not return in time',
    );
    installed = true;
    checked = await loaded.check(use.settings, context.baseDir);
    if (checked.awaited !== undefined)
      checked = { ...checked, awaited: checked.awaited.map((one) => ({ ...one, path: [...use.path, ...one.path] })) };
  } catch (reason) {
    const at = codePosition(reason, pluginFolder(use.use, context.baseDir));
    const what = `plugin ${JSON.stringify(plugin.name)} cannot be installed`;
    const problems = problemsOf(reason, what, at).map((problem) =>
      loaded.isOurs ? problem : withAbsentKeys(problem, use.settings),
    );
    return {
      ...UNSEEN,
      lease,
      installed,
      problems: problems.map((problem) => ({ ...problem, path: [...use.path, ...problem.path] })),
    };
  } finally {
    close();
  }
  const isIdle = use.list === 'sources' && collector.parts.sources.length === before;
  const message = `plugin ${JSON.stringify(plugin.name)} adds no source: list it under plugins`;
  return { lease, installed, checked, problems: isIdle ? [{ message, path: use.path }] : [] };
}

const UNSEEN = { checked: NOTHING_FOUND } as const;

/** As long as an operator waits at a terminal. Longer work of a plugin belongs into a service or its source. */
const INSTALL_PATIENCE_MS = 10_000;

type LoadedPlugin =
  | {
      readonly kind: 'plugin';
      readonly plugin: Plugin;
      readonly isOurs: boolean;
      check(settings: unknown, baseDir: string): Promise<PluginCheck>;
    }
  | { readonly kind: 'problem'; readonly message: string };

async function load({ use }: PlacedUse, baseDir: string): Promise<LoadedPlugin> {
  const builtIn = BUILT_IN.find(({ plugin }) => plugin.name === use);
  if (builtIn !== undefined) return { kind: 'plugin', isOurs: true, ...builtIn };
  try {
    const plugin = await loadPlugin(use, baseDir);
    return { kind: 'plugin', isOurs: false, plugin, check: () => Promise.resolve(NOTHING_FOUND) };
  } catch (reason) {
    return { kind: 'problem', message: messageOf(reason) };
  }
}

/**
 * Names the missing key in the message: a missing value has no position, and a schema library has the key only in the
 * path.
 */
function withAbsentKeys(problem: Problem, settings: unknown): Problem {
  let value: unknown = settings;
  for (const [depth, key] of problem.path.entries()) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key))
      return { ...problem, message: `${problem.path.slice(depth).join('.')}: ${problem.message}` };
    value = Reflect.get(value, key);
  }
  return problem;
}

function repeatedNames({ sources }: PluginParts): readonly Problem[] {
  const names = sources.map(({ name }) => name);
  const repeated = new Set(names.filter((name, index) => names.indexOf(name) !== index));
  return [...repeated].map((name) => ({
    message: `expected sources with different names, found two that are named ${JSON.stringify(name)}`,
    path: ['sources'],
  }));
}

function messageOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}
