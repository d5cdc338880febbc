// The findings of meshgate doctor in a folder of files.
import { adminClient } from '../src/admin/client.ts';
import { commandSettings } from '../src/cli/consul-flags.ts';
import { amending } from '../src/config/amend-config.ts';
import { diagnose } from '../src/doctor/doctor.ts';
import type { Finding } from '../src/live-check/finding.ts';
import { folder } from './daemon.ts';

/** Where it runs, and with which arguments. */
export interface Scene {
  /** Includes `meshgate.yaml`, the configuration, if there is one. */
  readonly files: Readonly<Record<string, unknown>>;
  readonly serverName?: string;
  /** Of a running gateway. */
  readonly admin?: string;
}

/** A port without a listener: that of a server that has been closed. */
export const NO_LISTENER = 'http://127.0.0.1:1';

export async function findingsAt({ files, serverName, admin = NO_LISTENER }: Scene): Promise<readonly Finding[]> {
  await using location = await folder(files);
  const settings = commandSettings({}, {}, location.path);
  const config = { file: `${location.path}/meshgate.yaml`, amend: amending(settings, false) };
  const isConfigured = 'meshgate.yaml' in files;
  return await diagnose({ serverName, admin: adminClient(new URL(admin)), ...(isConfigured && { config }) });
}

/** As one line; empty if nothing fails. */
export function firstFailure(findings: readonly Finding[]): string {
  const first = findings.find(({ outcome }) => outcome === 'failed');
  return `${first?.check}: ${first?.found}; ${first?.advice}`;
}
