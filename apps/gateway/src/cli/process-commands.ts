import { ConfigProblems } from '@meshgate/core';
import type { AdminClient } from '../admin/client.ts';
import type { LoadedConfig } from '../config/load-config.ts';
import { changeText, flatSettings, planReload } from '../run/reload-plan.ts';
import type { FlatSettings, SettingChange } from '../run/reload-plan.ts';

/**
 * `meshgate reload`: has a running gateway apply the configuration on its disk.
 *
 * @returns what changed, and what needs a restart
 * @throws ConfigProblems when the configuration is invalid; Error when it cannot be applied, or no gateway runs
 */
export async function reloadGateway(gateway: AdminClient): Promise<readonly SettingChange[]> {
  try {
    return ((await gateway.change('POST', '/reload', PATIENCE_MS)) as ReloadAnswer).changes;
  } catch (reason) {
    if (!(reason instanceof Error && 'status' in reason && reason.status === WRONG_CONFIG)) throw reason;
    throw new ConfigProblems([{ message: reason.message, path: [] }]);
  }
}

/**
 * `meshgate upgrade`: has a running gateway start its successor.
 *
 * @returns the successor's process id
 * @throws Error when the upgrade failed, or no gateway runs
 */
export async function upgradeGateway(gateway: AdminClient): Promise<number> {
  return ((await gateway.change('POST', '/upgrade', PATIENCE_MS)) as { readonly pid: number }).pid;
}

/** `--check --against`: what a reload of a running gateway with `loaded` would change. */
export async function planAgainst(
  gateway: AdminClient,
  { config, uses }: LoadedConfig,
): Promise<readonly SettingChange[]> {
  return planReload((await gateway.get('/reload')) as FlatSettings, flatSettings(config, uses));
}

/** A line each. */
export function changesText(changes: readonly SettingChange[]): string {
  return changes.length === 0 ? 'nothing changed\n' : changes.map((change) => `${changeText(change)}\n`).join('');
}

interface ReloadAnswer {
  readonly changes: readonly SettingChange[];
}

/** The reload waits for new sources and services; the upgrade for a ready successor. */
const PATIENCE_MS = 30_000;

/** Unprocessable content (RFC 9110, section 15.5.21). */
const WRONG_CONFIG = 422;
