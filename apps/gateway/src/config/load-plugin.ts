import { access } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { isAbsolute, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Plugin } from '@meshgate/core';
import { closestMatch } from 'leven';
import { BUILT_IN } from './built-in.ts';
import { describe } from './config-words.ts';

/**
 * Imports a plugin that somebody else wrote: by its path when `use` begins with `.` or `/`, else as a package.
 *
 * @param baseDir folder from which paths and packages are looked up
 * @throws Error that names the file or the package and says why it cannot be used
 */
export async function loadPlugin(use: string, baseDir: string): Promise<Plugin> {
  const isPath = use.startsWith('.') || isAbsolute(use);
  const shown = isPath ? resolve(baseDir, use) : use;
  try {
    if (isPath) await access(shown);
    const module: unknown = await import(isPath ? pathToFileURL(shown).href : packageUrl(use, baseDir));
    return pluginOf(module);
  } catch (reason) {
    const why = reason instanceof Error ? `${reason.name}: ${reason.message}` : String(reason);
    throw new Error(`${shown} cannot be loaded: ${why}${isPath ? '' : hint(use)}`, { cause: reason });
  }
}

/** Looked up from the configuration; a package that only the gateway itself can see is left to its own import. */
function packageUrl(use: string, baseDir: string): string {
  try {
    return pathToFileURL(createRequire(join(baseDir, 'meshgate.yaml')).resolve(use)).href;
  } catch {
    return use;
  }
}

function hint(use: string): string {
  const names = BUILT_IN.map(({ plugin }) => plugin.name);
  const nearest = closestMatch(use, names, { maxDistance: Math.max(1, Math.floor(use.length / 2)) });
  if (nearest !== undefined) return `; did you mean ${JSON.stringify(nearest)}?`;
  return `; built-in plugins are ${names.join(', ')}, and paths begin with ./`;
}

function pluginOf(module: unknown): Plugin {
  const exported = typeof module === 'object' && module !== null && 'default' in module ? module.default : undefined;
  if (isPlugin(exported)) return exported;
  throw new TypeError(`expected a plugin as default export, as definePlugin makes it, found ${describe(exported)}`);
}

function isPlugin(value: unknown): value is Plugin {
  if (typeof value !== 'object' || value === null) return false;
  return 'name' in value && typeof value.name === 'string' && 'install' in value && typeof value.install === 'function';
}
