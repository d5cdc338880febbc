import { ConfigProblems, formatProblem } from '@meshgate/core';
import type { Problem } from '@meshgate/core';
import { openDocument } from '@meshgate/documents';
import { asWritten } from './amend-config.ts';
import type { Amend } from './amend-config.ts';
import { schemaProblems } from './config-problems.ts';
import { configSchema, SETTINGS_BESIDE_PLUGINS } from './config-schema.ts';
import type { GatewayConfig, PluginUse } from './config-schema.ts';

/** A configuration file that has been looked through. */
export interface ConfigDraft {
  /** Absent when something is wrong with it. */
  readonly config?: GatewayConfig;
  /** Some settings, each if it can be understood, whatever is wrong elsewhere. */
  readonly understood: UnderstoodSettings;
  /** Everything that is wrong with it. */
  readonly problems: readonly Problem[];
  /** Plugins whose entries can be understood, whatever is wrong elsewhere: so that their own problems are told as well. */
  readonly uses: readonly PlacedUse[];
  /** Gives a problem its place in the file, when it has none yet. */
  placed(problem: Problem): Problem;
}

/** Settings that are looked at together with what plugins add. */
export type UnderstoodSettings = Partial<Pick<GatewayConfig, keyof typeof SETTINGS_BESIDE_PLUGINS>>;

/** Where in a configuration a plugin is named. */
export interface PlacedUse extends PluginUse {
  readonly list: 'sources' | 'plugins';
  readonly path: readonly (string | number)[];
}

/**
 * Reads the text of a configuration file: YAML, or JSON when the name of `file` ends in `.json`. Pure: `file` is only what
 * problems are said to be in.
 *
 * @throws ConfigProblems with every problem and its place
 */
export function parseConfig(content: string, file: string): GatewayConfig {
  const { config, problems } = draftConfig(content, file);
  if (config === undefined) throw new ConfigProblems(inOrder(problems));
  return config;
}

/**
 * {@link parseConfig} for those who will find more to complain of. Never throws.
 *
 * @param amend changes what stands in the file before it is parsed
 */
export function draftConfig(content: string, file: string, amend: Amend = asWritten): ConfigDraft {
  const opened = openDocument(content, file);
  if (opened.kind === 'broken') return { understood: {}, problems: opened.problems, uses: [], placed: atTop(file) };
  const { root } = opened;
  const { value, problems: ofAmendment, blamed } = amend(root.plain());
  const placed = (problem: Problem): Problem => {
    const at = problem.at ?? root.placeOf(problem.path);
    return blamed(problem) ?? (at === undefined ? problem : { ...problem, at });
  };
  const parsed = configSchema.safeParse(value);
  const wrong = parsed.success ? [] : schemaProblems(parsed.error.issues, value).map(placed);
  const problems = [...ofAmendment, ...opened.problems, ...wrong];
  const config = parsed.success && problems.length === 0 ? { config: parsed.data } : {};
  const uses = [...usesIn(value, 'sources'), ...usesIn(value, 'plugins')];
  return { ...config, understood: understoodOf(value), problems, uses, placed };
}

/** Where nothing can be found. A problem that has a place keeps it. */
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

/** From the top of each file to its end, and each once: two sources may read one file. */
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
