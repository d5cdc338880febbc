// What meshgate doctor finds in a folder of files.
import { adminClient } from '../src/admin/client.ts';
import { commandSettings } from '../src/cli/consul-flags.ts';
import { amending } from '../src/config/amend-config.ts';
import { diagnose } from '../src/doctor/doctor.ts';
import type { Finding } from '../src/live-check/finding.ts';
import { folder } from './daemon.ts';

/** Where it is asked, and for what. */
export interface Scene {
  /** `meshgate.yaml` among them: the configuration; none where there is no such file. */
  readonly files: Readonly<Record<string, unknown>>;
  readonly serverName?: string;
  /** Of a gateway that runs. */
  readonly admin?: string;
}

/** Where nobody listens: the port of a server that has gone. */
export const NOBODY = 'http://127.0.0.1:1';

export async function findingsAt({ files, serverName, admin = NOBODY }: Scene): Promise<readonly Finding[]> {
  await using location = await folder(files);
  const settings = commandSettings({}, {}, location.path);
  const config = { file: `${location.path}/meshgate.yaml`, amend: amending(settings, false) };
  const isConfigured = 'meshgate.yaml' in files;
  return await diagnose({ serverName, admin: adminClient(new URL(admin)), ...(isConfigured && { config }) });
}

/** As a line; of nothing when nothing fails. */
export function firstFailure(findings: readonly Finding[]): string {
  const first = findings.find(({ outcome }) => outcome === 'failed');
  return `${first?.check}: ${first?.found}; ${first?.advice}`;
}
