import { resolve } from 'node:path';
import { consulPlugin, fileProblems, listenersOf, optionsOf, parseSettings } from '@meshgate/consul-source';
import type { ListenAddress, Plugin, Problem, Route } from '@meshgate/core';
import { checkFileSettings, fileSourcePlugin } from '@meshgate/file-source';
import { checkMeshSettings, meshFilesPlugin } from '@meshgate/mesh-files';

/** A plugin that comes with the gateway. */
export interface BuiltIn {
  readonly plugin: Plugin;
  /**
   * Checks the files of the plugin, as far as they can be invalid like a configuration. Rejects with `ConfigProblems`.
   */
  check(settings: unknown, baseDir: string): Promise<PluginCheck>;
}

/** The result of checking a plugin's files. */
export interface PluginCheck {
  /** Why the plugin's listener source has no listener, when known. */
  readonly noListeners?: string;
  /** Addresses on which the plugin's listener source will listen, as far as they are known. */
  readonly listening?: readonly ListenAddress[];
  /** Settings without effect, each with its position. */
  readonly warnings: readonly string[];
  /** The routes in the files, if any. */
  readonly routes?: readonly Route[];
  /** Files that cannot be used yet: a start waits for them, with a warning. */
  readonly awaited?: readonly Problem[];
}

/** No findings. */
export const NOTHING_FOUND: PluginCheck = { warnings: [] };

/** `use: file` reads mesh files when `mesh` is set, else route files. */
const FILES: BuiltIn = {
  plugin: {
    name: fileSourcePlugin.name,
    install: (host, settings) => (isMesh(settings) ? meshFilesPlugin : fileSourcePlugin).install(host, settings),
  },
  check: async (settings, baseDir) => {
    if (isMesh(settings)) return checkMeshSettings(settings, baseDir);
    return { ...NOTHING_FOUND, routes: await checkFileSettings(settings, baseDir) };
  },
};

/** Built-in plugins, by their names in `use`. */
export const BUILT_IN: readonly BuiltIn[] = [
  FILES,
  // Missing files are no problems: the agent need not run yet, and other software may still have to write tokens and
  // certificates.
  {
    plugin: consulPlugin,
    check: async (settings, baseDir) => ({
      ...NOTHING_FOUND,
      listening: listenersOf(parseSettings(settings)),
      awaited: await awaitedBy(settings, baseDir),
    }),
  },
];

/** Returns the problems of files of `use: consul` that cannot be used at the moment. */
export function awaitedBy(settings: unknown, baseDir: string): Promise<readonly Problem[]> {
  return fileProblems(optionsOf(parseSettings(settings), resolve(baseDir)));
}

/** Whether the settings of `use: file` are for mesh files. */
export function isMesh(settings: unknown): boolean {
  return typeof settings === 'object' && settings !== null && 'mesh' in settings;
}
