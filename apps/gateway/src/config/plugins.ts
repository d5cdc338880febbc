import { ConfigProblems } from '@meshgate/core';
import type { Plugin, Problem } from '@meshgate/core';
import { BUILT_IN, NOTHING_FOUND } from './built-in.ts';
import type { Checked } from './built-in.ts';
import type { PlacedUse } from './config.ts';
import { loadPlugin } from './load-plugin.ts';
import { gatheringHost } from './parts.ts';
import type { GatheringHost, Parts } from './parts.ts';

/** What became of the plugins of a configuration. */
export interface Installed {
  readonly parts: Parts;
  /** Everything that is wrong with them; paths from the top of the configuration, places only in files of their own. */
  readonly problems: readonly Problem[];
  /** Every plugin has been installed, whatever is wrong with what it will read: no part is missing that one of them might have added. */
  readonly complete: boolean;
  /** For each listener source that is known to have no listener: why. */
  readonly noListeners: readonly string[];
  /** What has no effect in the files that they will read, each with its place. */
  readonly warnings: readonly string[];
}

/**
 * Loads and installs `uses`, one after the other, and looks through what they will read. Starts nothing. Never rejects: what
 * goes wrong in a plugin is a problem of the configuration that names it.
 *
 * @param baseDir absolute folder of the configuration file
 */
export async function installPlugins(uses: readonly PlacedUse[], baseDir: string): Promise<Installed> {
  const host = gatheringHost(baseDir);
  const problems: Problem[] = [];
  const checks: Checked[] = [];
  let complete = true;
  for (const use of uses) {
    const outcome = await install(use, host);
    problems.push(...outcome.problems);
    checks.push(outcome.checked);
    complete &&= outcome.installed;
  }
  return {
    parts: host.parts,
    problems: [...problems, ...repeatedNames(host.parts)],
    complete,
    noListeners: checks.flatMap(({ noListeners }) => noListeners ?? []),
    warnings: checks.flatMap(({ warnings }) => warnings),
  };
}

interface Outcome {
  readonly installed: boolean;
  readonly problems: readonly Problem[];
  readonly checked: Checked;
}

async function install(use: PlacedUse, host: GatheringHost): Promise<Outcome> {
  const loaded = await load(use, host.baseDir);
  if (loaded.kind === 'problem')
    return { ...UNSEEN, installed: false, problems: [{ message: loaded.message, path: use.path }] };
  const before = host.parts.sources.length;
  let installed = false;
  let checked = NOTHING_FOUND;
  try {
    refusePromise(loaded.plugin.install(host, use.settings));
    installed = true;
    checked = await loaded.check(use.settings, host.baseDir);
  } catch (reason) {
    const problems = problemsOf(reason, loaded.plugin.name);
    return {
      ...UNSEEN,
      installed,
      problems: problems.map((problem) => ({ ...problem, path: [...use.path, ...problem.path] })),
    };
  }
  const isIdle = use.list === 'sources' && host.parts.sources.length === before;
  const message = `the plugin ${JSON.stringify(loaded.plugin.name)} adds no source: it belongs under plugins`;
  return { installed, checked, problems: isIdle ? [{ message, path: use.path }] : [] };
}

const UNSEEN = { checked: NOTHING_FOUND } as const;

/** The compiler lets an `async` method stand for one that gives nothing; what it adds later would be seen by nobody. */
function refusePromise(answer: unknown): void {
  if (!(answer instanceof Promise)) return;
  answer.catch(() => undefined);
  throw new TypeError('expected install to add its parts before it returns, found a promise');
}

type Loaded =
  | { readonly kind: 'plugin'; readonly plugin: Plugin; check(settings: unknown, baseDir: string): Promise<Checked> }
  | { readonly kind: 'problem'; readonly message: string };

async function load({ use }: PlacedUse, baseDir: string): Promise<Loaded> {
  const builtIn = BUILT_IN.find(({ plugin }) => plugin.name === use);
  if (builtIn !== undefined) return { kind: 'plugin', ...builtIn };
  try {
    return { kind: 'plugin', plugin: await loadPlugin(use, baseDir), check: () => Promise.resolve(NOTHING_FOUND) };
  } catch (reason) {
    return { kind: 'problem', message: messageOf(reason) };
  }
}

/** A plugin may throw our own problems, those of a schema library (`issues`, as Standard Schema has them), or anything. */
function problemsOf(reason: unknown, plugin: string): readonly Problem[] {
  if (reason instanceof ConfigProblems) return reason.problems;
  const issues = typeof reason === 'object' && reason !== null && 'issues' in reason ? reason.issues : undefined;
  if (!Array.isArray(issues) || issues.length === 0)
    return [{ message: `the plugin ${JSON.stringify(plugin)} cannot be installed: ${messageOf(reason)}`, path: [] }];
  return issues.map((issue: unknown) => toProblem(issue));
}

function toProblem(issue: unknown): Problem {
  const { message, path } = Object(issue) as { readonly message?: unknown; readonly path?: unknown };
  const parts: readonly unknown[] = Array.isArray(path) ? path : [];
  return {
    message: String(message),
    path: parts.map((part) => (typeof part === 'number' ? part : String(part))),
  };
}

function repeatedNames({ sources }: Parts): readonly Problem[] {
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
