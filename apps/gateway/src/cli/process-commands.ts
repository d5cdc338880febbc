import { ConfigProblems } from '@meshgate/core';
import type { AdminClient } from '../admin/client.ts';
import type { StatusView } from '../admin/status.ts';
import type { LoadedConfig } from '../config/load-config.ts';
import { printable } from '../log/printable.ts';
import { changeText, flatSettings, planReload } from '../run/reload-plan.ts';
import type { FlatSettings, SettingChange } from '../run/reload-plan.ts';
import { LIVE_SETTINGS, SIDECAR_SETTINGS } from '../run/setting-effects.ts';

/**
 * `meshgate reload`: has a running gateway apply the configuration on its disk.
 *
 * @returns what changed, and what needs a restart
 * @throws ConfigProblems when the configuration is invalid; Error when it cannot be applied, or no gateway runs
 */
export async function reloadGateway(gateway: AdminClient): Promise<readonly SettingChange[]> {
  try {
    return ((await gateway.change('POST', '/reload', PATIENCE_MS)) as ReloadResponse).changes;
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

/**
 * `--check --against`: what a reload of a running proxy with `loaded` would change.
 *
 * @param role the role that `loaded` configures
 * @throws Error when the running proxy has another role, or does not respond
 */
export async function planAgainst(
  proxy: AdminClient,
  role: StatusView['role'],
  { config, uses }: LoadedConfig,
): Promise<readonly SettingChange[]> {
  const running = (await proxy.get('/status')) as StatusView;
  if (running.role !== role)
    throw new Error(`--against: expected the admin API of a ${role}, found that of a ${printable(running.role)}`);
  const inUse = (await proxy.get('/reload')) as FlatSettings;
  return planReload(inUse, flatSettings(config, uses), role === 'sidecar' ? SIDECAR_SETTINGS : LIVE_SETTINGS);
}

/** A line each. */
export function changesText(changes: readonly SettingChange[]): string {
  return changes.length === 0 ? 'nothing changed\n' : changes.map((change) => `${changeText(change)}\n`).join('');
}

interface ReloadResponse {
  readonly changes: readonly SettingChange[];
}

/** The reload waits for new sources and services; the upgrade for a ready successor. */
const PATIENCE_MS = 30_000;

/** Unprocessable content (RFC 9110, section 15.5.21). */
const WRONG_CONFIG = 422;
