import type { FlatSettings, SettingChange } from './reload-plan.ts';

/** Process-level actions for operators. */
export interface ProcessControl {
  /** The configuration in use, without secrets. */
  readonly settings: FlatSettings;
  /** As SIGHUP. Never rejects. */
  reload(): Promise<ReloadOutcome>;
  /** As SIGUSR2: resolves when a successor has taken over or has failed. Never rejects. */
  upgrade(): Promise<UpgradeOutcome>;
}

/** Result of an upgrade. */
export type UpgradeOutcome =
  /** The process `pid` has taken over; this one drains. */
  | { readonly kind: 'handed over'; readonly pid: number }
  /** This process continues. */
  | { readonly kind: 'failed'; readonly reason: string };

/** Result of a reload. */
export type ReloadOutcome =
  /** `changes` that need no restart are in use. */
  | { readonly kind: 'reloaded'; readonly changes: readonly SettingChange[] }
  /** Nothing changed: `problems` says why, one per line. */
  | { readonly kind: 'refused'; readonly problems: readonly string[]; readonly isConfigWrong: boolean };

/** For a process that another one controls. */
export const NO_CONTROL: ProcessControl = {
  settings: { sources: [], plugins: [], values: {} },
  reload: () => Promise.resolve({ kind: 'refused', problems: ['the primary reloads'], isConfigWrong: false }),
  upgrade: () => Promise.resolve({ kind: 'failed', reason: 'the primary is replaced' }),
};
