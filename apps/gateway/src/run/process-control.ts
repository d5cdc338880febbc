import type { FlatSettings, SettingChange } from './reload-plan.ts';

/** Process-level actions for operators. */
export interface ProcessControl {
  /** The configuration in use, without secrets. */
  readonly settings: FlatSettings;
  /** As `LoadedConfig.proxyId`. */
  readonly proxyId?: string;
  /** Reloads, like SIGHUP. Never rejects. */
  reload(): Promise<ReloadOutcome>;
  /** Upgrades, like SIGUSR2. Resolves when a successor has taken over or has failed. Never rejects. */
  upgrade(): Promise<UpgradeOutcome>;
}

/** The result of an upgrade. */
export type UpgradeOutcome =
  /** The process `pid` has taken over, and this one drains. */
  | { readonly kind: 'handed over'; readonly pid: number }
  /** This process continues. */
  | { readonly kind: 'failed'; readonly reason: string };

/** The result of a reload. */
export type ReloadOutcome =
  /** The `changes` that need no restart are in effect. */
  | { readonly kind: 'reloaded'; readonly changes: readonly SettingChange[] }
  /** Nothing changed; `problems` has the reasons, one per line. */
  | { readonly kind: 'refused'; readonly problems: readonly string[]; readonly isConfigWrong: boolean };

/** For a process that another process controls. */
export const NO_CONTROL: ProcessControl = {
  settings: { sources: [], plugins: [], values: {} },
  reload: () => Promise.resolve({ kind: 'refused', problems: ['the primary reloads'], isConfigWrong: false }),
  upgrade: () => Promise.resolve({ kind: 'failed', reason: 'the primary is replaced' }),
};
