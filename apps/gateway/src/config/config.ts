import { ConfigProblems, formatProblem } from '@meshgate/core';
import type { Problem } from '@meshgate/core';
import { openDocument } from '@meshgate/documents';
import { asWritten } from './amend-config.ts';
import type { Amend } from './amend-config.ts';
import { schemaProblems } from './config-problems.ts';
import { configSchema, SETTINGS_BESIDE_PLUGINS } from './config-schema.ts';
import type { GatewayConfig, PluginUse } from './config-schema.ts';

/** The result of checking a configuration file. */
export interface ConfigDraft {
  /** Absent when there are problems. */
  readonly config?: GatewayConfig;
  /** The settings that are valid, each checked separately. */
  readonly understood: UnderstoodSettings;
  /** All problems of the file. */
  readonly problems: readonly Problem[];
  /**
   * Uses of plugins with a valid entry, even when other entries are invalid: problems of these plugins are reported as
   * well.
   */
  readonly uses: readonly PlacedUse[];
  /** Adds the position in the file to a problem without one. */
  placed(problem: Problem): Problem;
}

/** Settings that are checked together with the parts of plugins. */
export type UnderstoodSettings = Partial<Pick<GatewayConfig, keyof typeof SETTINGS_BESIDE_PLUGINS>>;

/** The use of a plugin, with its position in the configuration. */
export interface PlacedUse extends PluginUse {
  readonly list: 'sources' | 'plugins';
  readonly path: readonly (string | number)[];
}

/**
 * Parses a configuration file: YAML, or JSON when the name of `file` ends in `.json`. Pure: `file` only names the file
 * in problems.
 *
 * @throws ConfigProblems with every problem and its position
 */
export function parseConfig(content: string, file: string): GatewayConfig {
  const { config, problems } = draftConfig(content, file);
  if (config === undefined) throw new ConfigProblems(inOrder(problems));
  return config;
}

/**
 * Like {@link parseConfig}, for callers that add problems of their own. Never throws.
 *
 * @param amend amends the file's contents before they are parsed
 */
export function draftConfig(content: string, file: string, amend: Amend = asWritten): ConfigDraft {
  const opened = openDocument(content, file);
  if (opened.kind === 'broken') return { understood: {}, problems: opened.problems, uses: [], placed: atTop(file) };
  const { root } = opened;
  const { value, problems: ofAmendment, blamed } = amend(root.plain());
  const placed = (problem: Problem): Problem => {
    const at = problem.at ?? root.positionOf(problem.path);
    return blamed(problem) ?? (at === undefined ? problem : { ...problem, at });
  };
  const parsed = configSchema.safeParse(value);
  const wrong = parsed.success ? [] : schemaProblems(parsed.error.issues, value).map(placed);
  const problems = [...ofAmendment, ...opened.problems, ...wrong];
  const config = parsed.success && problems.length === 0 ? { config: parsed.data } : {};
  const uses = [...usesIn(value, 'sources'), ...usesIn(value, 'plugins')];
  return { ...config, understood: understoodOf(value), problems, uses, placed };
}

/** Places problems of a file that was not parsed at its top. A problem with a position keeps it. */
function atTop(file: string): (problem: Problem) => Problem {
  return (problem) => ({ ...problem, at: problem.at ?? { file, line: 1, column: 1 } });
}

function understoodOf(value: unknown): UnderstoodSettings {
  const settings = isMapping(value) ? value : {};
  const understood = Object.entries(SETTINGS_BESIDE_PLUGINS).flatMap(([key, schema]) => {
    const parsed = schema.safeParse(settings[key]);
    return parsed.success ? [[key, parsed.data] as const] : [];
  });
  return Object.fromEntries(understood);
}

/** Sorts problems by position and drops duplicates, since two sources may read the same file. */
export function inOrder(all: readonly Problem[]): readonly Problem[] {
  const problems = [...new Map(all.map((problem) => [formatProblem(problem), problem])).values()];
  const files = [...new Set(problems.map(({ at }) => at?.file))];
  const rank = ({ at }: Problem): number => files.indexOf(at?.file);
  return problems.toSorted(
    (one, other) =>
      rank(one) - rank(other) ||
      (one.at?.line ?? 0) - (other.at?.line ?? 0) ||
      (one.at?.column ?? 0) - (other.at?.column ?? 0),
  );
}

function usesIn(value: unknown, list: PlacedUse['list']): readonly PlacedUse[] {
  const entries = isMapping(value) ? value[list] : undefined;
  if (!Array.isArray(entries)) return [];
  return entries.flatMap((entry: unknown, index) => {
    const { use, ...settings } = isMapping(entry) ? entry : { use: list === 'plugins' ? entry : undefined };
    return typeof use === 'string' && use !== '' ? [{ use, settings, list, path: [list, index] }] : [];
  });
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
