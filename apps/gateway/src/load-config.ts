import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { ConfigProblems } from '@meshgate/core';
import type { Problem } from '@meshgate/core';
import { asWritten } from './amend-config.ts';
import type { Amend } from './amend-config.ts';
import { draftConfig, inOrder } from './config.ts';
import type { GatewayConfig } from './config-schema.ts';
import type { Parts } from './parts.ts';
import { installPlugins } from './plugins.ts';
import { builtInTransports, chooseTransport } from './transport-choice.ts';
import type { ChosenTransport } from './transport-choice.ts';
import { unsharedBy } from './workers/unshared.ts';

/** A configuration in which nothing is wrong, with everything that it names. */
export interface LoadedConfig {
  /** As it was given; absent when everything was said without one. */
  readonly file: string | undefined;
  /** What stood in it; `''` without one. */
  readonly text: string;
  /** Paths in it are absolute. */
  readonly config: GatewayConfig;
  readonly parts: Parts;
  readonly transport: ChosenTransport;
}

/**
 * Reads a configuration file, amends it, loads and installs its plugins, and looks through the files that it names. Starts nothing.
 *
 * @param file `undefined`: there is none, what `amend` adds to nothing is all
 * @throws ConfigProblems with everything that is wrong, in whichever of these files
 */
export async function loadConfig(file: string | undefined, amend: Amend = asWritten): Promise<LoadedConfig> {
  const baseDir = file === undefined ? resolve() : dirname(resolve(file));
  const text = file === undefined ? '' : await readConfigText(file);
  const { config, problems, uses, placed } = draftConfig(file === undefined ? '{}' : text, file ?? NO_FILE, amend);
  const installed = await installPlugins(uses, baseDir);
  const wrong = [...problems, ...installed.problems.map(placed)];
  if (config === undefined || wrong.length > 0) throw new ConfigProblems(inOrder(wrong));
  const { parts } = installed;
  const lacking = lacksOf(config, parts);
  const { use, splice } = config.transport;
  const choice = await chooseTransport(use, parts.transports, builtInTransports(splice));
  if (choice.kind === 'none') lacking.push({ message: choice.reason, path: ['transport'] });
  else lacking.push(...unsharedBy(choice.transport, config));
  if (choice.kind === 'none' || lacking.length > 0) throw new ConfigProblems(inOrder(lacking.map(placed)));
  return { file, text, config: withAbsolutePaths(config, baseDir), parts, transport: choice };
}

/** What problems are said to be in when nothing has a place of its own. */
const NO_FILE = 'command line';

/** @throws ConfigProblems when it cannot be read */
export async function readConfigText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (reason) {
    const message = `cannot be read: ${reason instanceof Error ? reason.message : String(reason)}`;
    throw new ConfigProblems([{ message, path: [], at: { file, line: 1, column: 1 } }]);
  }
}

function lacksOf({ listeners }: GatewayConfig, { sources, listenerSources }: Parts): Problem[] {
  const problems: Problem[] = [];
  if (sources.length === 0)
    problems.push({ message: 'expected at least one source of routes, found none', path: ['sources'] });
  if (listeners.length + listenerSources.length === 0)
    problems.push({ message: 'expected at least one listener, found none', path: ['listeners'] });
  return problems;
}

function withAbsolutePaths(config: GatewayConfig, baseDir: string): GatewayConfig {
  return config.stateDir === undefined ? config : { ...config, stateDir: resolve(baseDir, config.stateDir) };
}
