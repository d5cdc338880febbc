import type { FlatSettings, SettingChange } from './reload-plan.ts';

/** What an operator may have a running process do with itself. */
export interface ProcessControl {
  /** The configuration in use, without secrets. */
  readonly settings: FlatSettings;
  /** As SIGHUP. Never rejects. */
  reload(): Promise<ReloadOutcome>;
  /** As SIGUSR2: resolves when a successor serves in place of this process, or never will. Never rejects. */
  upgrade(): Promise<UpgradeOutcome>;
}

/** What has become of an upgrade. */
export type UpgradeOutcome =
  /** The process `pid` serves; this one drains. */
  | { readonly kind: 'handed over'; readonly pid: number }
  /** This process goes on as before. */
  | { readonly kind: 'failed'; readonly reason: string };

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
  upgrade: () => Promise.resolve({ kind: 'failed', reason: 'the primary is replaced' }),
};
