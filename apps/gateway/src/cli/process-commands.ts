import { ConfigProblems } from '@meshgate/core';
import type { AdminClient } from '../admin/client.ts';
import type { LoadedConfig } from '../config/load-config.ts';
import { changeText, flatSettings, planReload } from '../run/reload-plan.ts';
import type { FlatSettings, SettingChange } from '../run/reload-plan.ts';

/**
 * `meshgate reload`: has a running gateway put the configuration on its disk into use.
 *
 * @returns what has changed, and what needs a restart
 * @throws ConfigProblems when the configuration is wrong; Error when it cannot be used, or there is no gateway
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
 * @throws Error when the gateway goes on, or there is none
 */
export async function upgradeGateway(gateway: AdminClient): Promise<number> {
  return ((await gateway.change('POST', '/upgrade', PATIENCE_MS)) as { readonly pid: number }).pid;
}

/** `--check --against`: what a running gateway would do with `loaded`. */
export async function planAgainst(
  gateway: AdminClient,
  { config, uses }: LoadedConfig,
): Promise<readonly SettingChange[]> {
  return planReload((await gateway.get('/reload')) as FlatSettings, flatSettings(config, uses));
}

/** A line each. */
export function changesText(changes: readonly SettingChange[]): string {
  return changes.length === 0 ? 'nothing has changed\n' : changes.map((change) => `${changeText(change)}\n`).join('');
}

interface ReloadAnswer {
  readonly changes: readonly SettingChange[];
}

/** New sources and services are waited for, and a successor that becomes ready. */
const PATIENCE_MS = 30_000;

/** Unprocessable content (RFC 9110, section 15.5.21). */
const WRONG_CONFIG = 422;
