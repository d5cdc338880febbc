import { stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { PLUGIN_API_VERSION } from '@meshgate/core';
import type { Plugin } from '@meshgate/core';
import { resolve as resolveImport } from 'import-meta-resolve';
import { closestMatch } from 'leven';
import { BUILT_IN } from './built-in.ts';
import { codePosition } from './code-position.ts';
import { describe } from './config-messages.ts';
import { settledWithin } from './settled-within.ts';

/**
 * Imports a third-party plugin: by its path when `use` begins with `.` or `/`, else as a package.
 *
 * @param baseDir folder from which paths and packages are resolved
 * @throws Error naming the file or the package, with the reason why it cannot be used
 */
export async function loadPlugin(use: string, baseDir: string): Promise<Plugin> {
  const isPath = isPathOf(use);
  const shown = isPath ? resolve(baseDir, use) : use;
  try {
    // Importing a pipe or a device would block until its end.
    if (isPath && !(await stat(shown)).isFile()) throw new Error('expected a file');
    const url = isPath ? pathToFileURL(shown).href : packageUrl(use, baseDir);
    const module = await settledWithin<unknown>(
      LOAD_PATIENCE_MS,
      () => import(url),
      'a top-level await does not settle',
    );
    return pluginOf(module);
  } catch (reason) {
    const why = reason instanceof Error ? `${reason.name}: ${reason.message}` : String(reason);
    const at = codePosition(reason, pluginFolder(use, baseDir));
    const where = at === undefined ? adviceOn(reason, shown) : ` (at ${at})`;
    throw new Error(`${shown} cannot be loaded: ${why}${where}${isPath ? '' : hint(use)}`, { cause: reason });
  }
}

/** Returns the folder of a plugin's code; that of the configuration when it cannot be found. */
export function pluginFolder(use: string, baseDir: string): string {
  if (isPathOf(use)) return dirname(resolve(baseDir, use));
  try {
    return dirname(fileURLToPath(packageUrl(use, baseDir)));
  } catch {
    return baseDir;
  }
}

function isPathOf(use: string): boolean {
  return use.startsWith('.') || isAbsolute(use);
}

/** Adds advice to Node's error for a module that cannot be loaded. */
function adviceOn(reason: unknown, shown: string): string {
  const { code, message = '' } = Object(reason) as { readonly code?: unknown; readonly message?: string };
  if (reason instanceof SyntaxError) return `; "node --check ${shown}" prints the line`;
  if (code === 'ERR_UNKNOWN_FILE_EXTENSION' && shown.endsWith('.ts'))
    return '; compile it to JavaScript, or run Node 22.18 or later, which strips types';
  if (code === 'ERR_MODULE_NOT_FOUND' && message.includes("'@meshgate/"))
    return '; install it in the folder of the plugin';
  return '';
}

/** Longer than any module takes to load, short enough for an operator to wait. */
const LOAD_PATIENCE_MS = 10_000;

/**
 * Resolves a package from the configuration's folder. A package that only the gateway can resolve is imported directly.
 */
function packageUrl(use: string, baseDir: string): string {
  try {
    return resolveImport(use, pathToFileURL(join(baseDir, 'meshgate.yaml')).href);
  } catch (reason) {
    if (Reflect.get(Object(reason), 'code') === 'ERR_MODULE_NOT_FOUND') return use;
    throw reason;
  }
}

function hint(use: string): string {
  const names = BUILT_IN.map(({ plugin }) => plugin.name);
  const nearest = closestMatch(use, names, { maxDistance: Math.max(1, Math.floor(use.length / 2)) });
  if (nearest !== undefined) return `; did you mean ${JSON.stringify(nearest)}?`;
  return `; built-in plugins are ${names.join(', ')}, and paths begin with ./`;
}

function pluginOf(module: unknown): Plugin {
  const exported: unknown = Reflect.get(Object(module), 'default');
  // TypeScript and Babel compile a default export to a property of the CommonJS module's exports.
  const plugin: unknown = isPlugin(exported) ? exported : Reflect.get(Object(exported), 'default');
  if (isPlugin(plugin)) return ofOurVersion(plugin);
  const found = exported === undefined ? exportsOf(module) : describeExport(plugin ?? exported);
  throw new TypeError(`expected a plugin made by definePlugin as default export, found ${found}`);
}

function exportsOf(module: unknown): string {
  const names = Object.keys(module as object);
  return names.length === 0 ? 'no export' : `only exports named ${names.join(', ')}`;
}

function describeExport(value: unknown): string {
  if (typeof value === 'function') return /^class\b/.test(String(value)) ? 'a class: export an instance' : 'a function';
  if (value instanceof Promise) return 'a promise';
  if (typeof value !== 'object' || value === null) return describe(value);
  if (typeof Reflect.get(value, 'install') !== 'function') return 'an object without install()';
  return 'an object without a name';
}

function ofOurVersion(plugin: Plugin): Plugin {
  const { apiVersion = 1 } = plugin;
  if (apiVersion === PLUGIN_API_VERSION) return plugin;
  const written = `the plugin ${JSON.stringify(plugin.name)} is written for version ${JSON.stringify(apiVersion)} of the plugin API`;
  throw new TypeError(`${written}, and this gateway has version ${PLUGIN_API_VERSION}`);
}

function isPlugin(value: unknown): value is Plugin {
  if (typeof value !== 'object' || value === null) return false;
  return (
    'name' in value &&
    typeof value.name === 'string' &&
    value.name !== '' &&
    'install' in value &&
    typeof value.install === 'function'
  );
}
