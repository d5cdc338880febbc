import { resolve } from 'node:path';
import { ConfigProblems, definePlugin, type Plugin, type Route } from '@meshgate/core';
import { defined } from '@meshgate/core/parts';
import { openValue, parsePoll } from '@meshgate/documents';
import type { FileSource } from '@meshgate/documents';
import { readRoutes } from './routes/read-routes.ts';
import { fileSource } from './source.ts';

/** The plugin `file`: adds a {@link fileSource} of route files. */
export const fileSourcePlugin: Plugin = definePlugin<FileSourceConfig>({
  name: 'file',
  parse: parseFileSourceConfig,
  setup: (host, config) => host.addSource(fileSourceOf(config, host.baseDir)),
});

/** Settings of the plugin `file`. */
export interface FileSourceConfig {
  /** Route file or folder of route files, relative to the folder of the configuration. */
  readonly path: string;
  /** Name of the source. When absent: `file:` and the path as written. */
  readonly name?: string;
  /** Poll interval in milliseconds, written as a duration; see `FileSourceOptions.pollMs`. */
  readonly pollMs?: number;
}

/** Parses the settings. @throws ConfigProblems with every problem, including unknown keys */
export function parseFileSourceConfig(config: unknown): FileSourceConfig {
  const { root, problems } = openValue(config);
  const fields = root.record({ path: 'required', name: 'optional', poll: 'optional' });
  const path = fields?.get('path')?.text();
  const name = fields?.get('name')?.text();
  const pollMs = fields?.get('poll')?.parsed(parsePoll);
  if (path === undefined || problems.length > 0) throw new ConfigProblems(problems);
  return { path, ...defined({ name, pollMs }) };
}

/** Creates the source that `config` describes, with its path relative to `baseDir`. */
export function fileSourceOf({ path, name = `file:${path}`, ...rest }: FileSourceConfig, baseDir: string): FileSource {
  return fileSource({ path: resolve(baseDir, path), name, ...rest });
}

/**
 * Reads the routes of these settings once, to report problems before anything starts.
 *
 * @throws ConfigProblems with every problem of the settings or the files
 */
export async function checkFileSettings(settings: unknown, baseDir: string): Promise<readonly Route[]> {
  const { routes } = await readRoutes(resolve(baseDir, parseFileSourceConfig(settings).path));
  return routes;
}
