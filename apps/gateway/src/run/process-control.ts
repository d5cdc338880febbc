import type { FlatSettings, SettingChange } from './reload-plan.ts';

/** What an operator may have a running process do with itself. */
export interface ProcessControl {
  /** The configuration in use, without secrets. */
  readonly settings: FlatSettings;
  /** As SIGHUP. Never rejects. */
  reload(): Promise<ReloadOutcome>;
}

/** What has become of a reload. */
export type ReloadOutcome =
  /** `changes` that do not need a restart are in use. */
  | { readonly kind: 'reloaded'; readonly changes: readonly SettingChange[] }
  /** Nothing has changed: `problems` says why, a line each. */
  | { readonly kind: 'refused'; readonly problems: readonly string[]; readonly isConfigWrong: boolean };

/** Of a process that another one operates. */
export const NO_CONTROL: ProcessControl = {
  settings: { sources: [], plugins: [], values: {} },
  reload: () => Promise.resolve({ kind: 'refused', problems: ['the primary reloads'], isConfigWrong: false }),
};
