import { ConfigProblems } from '@meshgate/core';
import type { AdminClient } from '../admin/client.ts';
import type { StatusView } from '../admin/status.ts';
import type { LoadedConfig } from '../config/load-config.ts';
import { printable } from '../log/printable.ts';
import { changeText, planReload, settingsOf } from '../run/reload-plan.ts';
import type { FlatSettings, SettingChange } from '../run/reload-plan.ts';
import { LIVE_SETTINGS, SIDECAR_SETTINGS, whyRestart } from '../run/setting-effects.ts';
import { VERSION } from './version.ts';

/**
 * Makes a running gateway apply the configuration on its disk (`meshgate reload`).
 *
 * @returns the changes, including those that need a restart
 * @throws ConfigProblems when the configuration is invalid; Error when it cannot be applied, or no gateway responds
 */
export async function reloadGateway(gateway: AdminClient): Promise<readonly SettingChange[]> {
  try {
    return ((await gateway.change('POST', '/reload', PATIENCE_MS)) as ReloadResponse).changes;
  } catch (reason) {
    if (!(reason instanceof Error && 'status' in reason && reason.status === WRONG_CONFIG)) throw reason;
    const problems = 'problems' in reason && Array.isArray(reason.problems) ? reason.problems.map(String) : [];
    const lines = problems.length === 0 ? [reason.message] : ['reload refused, nothing changed:', ...problems];
    throw new ConfigProblems(lines.map((message) => ({ message, path: [] })));
  }
}

/**
 * Makes a running gateway start its successor (`meshgate upgrade`).
 *
 * @returns the successor's process id
 * @throws Error when the upgrade has failed, or no gateway responds
 */
export async function upgradeGateway(gateway: AdminClient): Promise<number> {
  return ((await gateway.change('POST', '/upgrade', PATIENCE_MS)) as { readonly pid: number }).pid;
}

/**
 * Describes the changes of a reload of a running proxy with `loaded` (`--check --against`).
 *
 * @param role the role that `loaded` configures
 * @throws Error when the running proxy has another role, or does not respond
 */
export async function planAgainst(proxy: AdminClient, role: StatusView['role'], loaded: LoadedConfig): Promise<string> {
  const running = (await proxy.get('/status')) as StatusView;
  if (running.role !== role)
    throw new Error(`--against: expected the admin API of a ${role}, found that of a ${printable(running.role)}`);
  const [inUse, wanted] = [(await proxy.get('/reload')) as FlatSettings, settingsOf(loaded)];
  const { proxyId = wanted.proxyId, file = wanted.file } = inUse;
  if (proxyId !== wanted.proxyId)
    throw new Error(
      `--against: expected the admin API of ${wanted.proxyId}, found that of ${printable(proxyId ?? '')}`,
    );
  const plan = planReload(inUse, wanted, role === 'sidecar' ? SIDECAR_SETTINGS : LIVE_SETTINGS);
  const notes = [
    ...(file === wanted.file ? [] : [`note: the running ${role} has read ${file}, and reads that again in a reload\n`]),
    ...(running.version === VERSION
      ? []
      : [`note: the running ${role} has version ${running.version}, this is ${VERSION}: defaults may differ\n`]),
  ];
  return `${notes.join('')}${plan.length === 0 ? 'nothing would change\n' : changesText(plan)}`;
}

/** Formats changes, one per line, with the reason for those that are not in effect yet. */
export function changesText(changes: readonly SettingChange[]): string {
  if (changes.length === 0) return 'nothing changed\n';
  const pending = changes.filter(({ effect }) => effect === 'restart');
  const reasons = pending.flatMap(({ setting }) => {
    const why = whyRestart(setting);
    return why === undefined ? [] : [`${setting} stays as it is in a reload: ${why}`];
  });
  const upgrade = pending.length === 0 ? [] : ['meshgate upgrade applies all of it, and drops no connection'];
  return [...changes.map(changeText), ...reasons, ...upgrade].map((line) => `${line}\n`).join('');
}

interface ReloadResponse {
  readonly changes: readonly SettingChange[];
}

/** A reload waits for new sources and services, an upgrade for a successor that is ready. */
const PATIENCE_MS = 30_000;

/** Unprocessable content (RFC 9110, section 15.5.21). */
const WRONG_CONFIG = 422;
