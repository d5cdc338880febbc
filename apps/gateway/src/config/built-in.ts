import { consulPlugin } from '@meshgate/consul-source';
import type { Plugin } from '@meshgate/core';
import { checkFileSettings, fileSourcePlugin } from '@meshgate/file-source';

/** A plugin that comes with the gateway. */
export interface BuiltIn {
  readonly plugin: Plugin;
  /** Looks through what the plugin will read, so far as that can be wrong like a configuration. Rejects with `ConfigProblems`. */
  check(settings: unknown, baseDir: string): Promise<unknown>;
}

/** By the names under which `use` knows them. */
export const BUILT_IN: readonly BuiltIn[] = [
  { plugin: fileSourcePlugin, check: checkFileSettings },
  // What it will read is the agent's, and that need not be there yet.
  { plugin: consulPlugin, check: () => Promise.resolve() },
];
