import { resolve } from 'node:path';
import { consulPlugin, fileProblems, listenersOf, optionsOf, parseSettings } from '@meshgate/consul-source';
import type { ListenAddress, Plugin, Problem, Route } from '@meshgate/core';
import { checkFileSettings, fileSourcePlugin } from '@meshgate/file-source';
import { checkMeshSettings, meshFilesPlugin } from '@meshgate/mesh-files';

/** A plugin that comes with the gateway. */
export interface BuiltIn {
  readonly plugin: Plugin;
  /** Looks through what the plugin will read, so far as that can be wrong like a configuration. Rejects with `ConfigProblems`. */
  check(settings: unknown, baseDir: string): Promise<PluginCheck>;
}

/** What was found where a plugin will read. */
export interface PluginCheck {
  /** Why the listener source that it adds has no listener, as far as that can be told. */
  readonly noListeners?: string;
  /** Where the listener source that it adds will listen, as far as that can be told. */
  readonly listening?: readonly ListenAddress[];
  /** What has no effect, each with its place. */
  readonly warnings: readonly string[];
  /** The routes that it found, if it found routes. */
  readonly routes?: readonly Route[];
  /** What cannot be used yet: a start waits for it, with a warning. */
  readonly awaited?: readonly Problem[];
}

/** Nothing to say. */
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

/** By the names under which `use` knows them. */
export const BUILT_IN: readonly BuiltIn[] = [
  FILES,
  // What it will read is the agent's, and that need not be there yet; nor need tokens and certificates, which are written by others.
  {
    plugin: consulPlugin,
    check: async (settings, baseDir) => ({
      ...NOTHING_FOUND,
      listening: listenersOf(parseSettings(settings)),
      awaited: await awaitedBy(settings, baseDir),
    }),
  },
];

/** Files of `use: consul` that cannot be used at this moment. */
export function awaitedBy(settings: unknown, baseDir: string): Promise<readonly Problem[]> {
  return fileProblems(optionsOf(parseSettings(settings), resolve(baseDir)));
}

/** Whether the settings of `use: file` are about mesh files. */
export function isMesh(settings: unknown): boolean {
  return typeof settings === 'object' && settings !== null && 'mesh' in settings;
}
