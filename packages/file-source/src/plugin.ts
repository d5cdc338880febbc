import { isAbsolute, resolve } from 'node:path';
import { ConfigProblems, definePlugin, type Plugin } from '@meshgate/core';
import { openValue } from './document.ts';
import { DURATION_FORM, MAX_TIMER_MS, parseDuration } from './duration.ts';
import type { Parsed } from './field.ts';
import { fileSource, type FileSource } from './source.ts';

/** The plugin `file`: adds a {@link fileSource} for each configuration. Settings: `path`, `name`, `poll`. */
export const fileSourcePlugin: Plugin = definePlugin<FileSourceConfig>({
  name: 'file',
  parse: parseFileSourceConfig,
  setup: (host, config) => host.addSource(fileSourceOf(config, host.baseDir)),
});

/** Settings of the plugin, as they are written. */
export interface FileSourceConfig {
  /** Route file or folder, relative to the folder of the configuration. */
  readonly path: string;
  /** Name of the source. `file:` and the path as written when absent. */
  readonly name?: string;
  /** As {@link FileSourceOptions.pollMs}; written as a duration. */
  readonly pollMs?: number;
}

/** @throws ConfigProblems with every problem, also for keys that are not known */
export function parseFileSourceConfig(config: unknown): FileSourceConfig {
  const { root, problems } = openValue(config);
  const fields = root.record({ path: 'required', name: 'optional', poll: 'optional' });
  const path = fields?.get('path')?.text();
  const name = fields?.get('name')?.text();
  const pollMs = fields?.get('poll')?.parsed(parsePoll);
  if (path === undefined || problems.length > 0) throw new ConfigProblems(problems);
  return { path, ...(name !== undefined && { name }), ...(pollMs !== undefined && { pollMs }) };
}

/** The source that `config` describes, with its path taken from `baseDir`. */
export function fileSourceOf({ path, name = `file:${path}`, pollMs }: FileSourceConfig, baseDir: string): FileSource {
  const absolute = isAbsolute(path) ? path : resolve(baseDir, path);
  return fileSource({ path: absolute, name, ...(pollMs !== undefined && { pollMs }) });
}

function parsePoll(text: string): Parsed<number> {
  const pollMs = parseDuration(text);
  if (pollMs !== undefined && pollMs <= MAX_TIMER_MS) return { kind: 'value', value: pollMs };
  return { kind: 'refused', expected: `${DURATION_FORM}, or 0s for never` };
}
