import { resolve } from 'node:path';
import { consulPlugin, fileProblems, listenersOf, optionsOf, parseSettings } from '@meshgate/consul-source';
import type { ListenAddress, Plugin, Problem, Route } from '@meshgate/core';
import { checkFileSettings, fileSourcePlugin } from '@meshgate/file-source';
import { checkMeshSettings, meshFilesPlugin } from '@meshgate/mesh-files';

/** A plugin that comes with the gateway. */
export interface BuiltIn {
  readonly plugin: Plugin;
  /** Checks what the plugin will read, as far as that can be invalid like a configuration. Rejects with `ConfigProblems`. */
  check(settings: unknown, baseDir: string): Promise<PluginCheck>;
}

/** Findings in the files of a plugin. */
export interface PluginCheck {
  /** Why its listener source has no listener, where known. */
  readonly noListeners?: string;
  /** Where the listener source that it adds will listen, as far as that can be told. */
  readonly listening?: readonly ListenAddress[];
  /** Settings without effect, each with its position. */
  readonly warnings: readonly string[];
  /** The routes that it found, if any. */
  readonly routes?: readonly Route[];
  /** What cannot be used yet: a start waits for it, with a warning. */
  readonly awaited?: readonly Problem[];
}

/** No findings. */
export const NOTHING_FOUND: PluginCheck = { warnings: [] };

/** `use: file`: mesh files where `mesh` is set, else route files. */
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

/** By their names in `use`. */
export const BUILT_IN: readonly BuiltIn[] = [
  FILES,
  // Its data is the agent's, which need not run yet; nor need tokens and certificates exist, which others write.
  {
    plugin: consulPlugin,
    check: async (settings, baseDir) => ({
      ...NOTHING_FOUND,
      listening: listenersOf(parseSettings(settings)),
      awaited: await awaitedBy(settings, baseDir),
    }),
  },
];

/** Files of `use: consul` that cannot be used at the moment. */
export function awaitedBy(settings: unknown, baseDir: string): Promise<readonly Problem[]> {
  return fileProblems(optionsOf(parseSettings(settings), resolve(baseDir)));
}

/** Whether the settings of `use: file` are about mesh files. */
export function isMesh(settings: unknown): boolean {
  return typeof settings === 'object' && settings !== null && 'mesh' in settings;
}
