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
 * @throws Error that names the file or package and says why it cannot be used
 */
export async function loadPlugin(use: string, baseDir: string): Promise<Plugin> {
  const isPath = use.startsWith('.') || isAbsolute(use);
  const [shown, url] = isPath ? fileOf(use, baseDir) : [use, packageUrl(use, baseDir)];
  const module = await import(url).catch((reason: unknown) => {
    throw new Error(`${shown} cannot be loaded: ${reasonOf(reason, url)}${isPath ? '' : hint(use)}`, { cause: reason });
  });
  return asPlugin((module as { readonly default?: unknown }).default, shown);
}

function fileOf(use: string, baseDir: string): [shown: string, url: string] {
  const file = resolve(baseDir, use);
  return [file, pathToFileURL(file).href];
}

/** Looked up from the configuration; a package that only the gateway itself can see is left to its own import. */
function packageUrl(use: string, baseDir: string): string {
  try {
    return pathToFileURL(createRequire(join(baseDir, 'meshgate.yaml')).resolve(use)).href;
  } catch {
    return use;
  }
}

/** Node says what it looked for and from where, which for the plugin itself is known already. */
function reasonOf(reason: unknown, url: string): string {
  const isMissing = reason instanceof Error && 'code' in reason && reason.code === 'ERR_MODULE_NOT_FOUND';
  if (isMissing && 'url' in reason && reason.url === url) return 'there is no such file';
  return reason instanceof Error ? `${reason.name}: ${reason.message}` : String(reason);
}

function hint(use: string): string {
  const names = BUILT_IN.map(({ plugin }) => plugin.name);
  const nearest = closestMatch(use, names, { maxDistance: Math.max(1, Math.floor(use.length / 2)) });
  if (nearest !== undefined) return `; did you mean ${JSON.stringify(nearest)}?`;
  return `; built-in plugins are ${names.join(', ')}, and paths begin with ./`;
}

function asPlugin(exported: unknown, shown: string): Plugin {
  if (isPlugin(exported)) return exported;
  throw new Error(
    `${shown}: expected a plugin as default export, as definePlugin makes it, found ${describe(exported)}`,
  );
}

function isPlugin(value: unknown): value is Plugin {
  if (typeof value !== 'object' || value === null) return false;
  return 'name' in value && typeof value.name === 'string' && 'install' in value && typeof value.install === 'function';
}
