import { access, constants, readFile } from 'node:fs/promises';
import { platform } from 'node:os';
import { dirname } from 'node:path';
import { formatEndpoint } from '@meshgate/core';
import type { Endpoint, Problem } from '@meshgate/core';
import { errorOf, readRegularFile } from '@meshgate/core/parts';
import { isBeyondThisMachine } from '../admin/change-guard.ts';
import type { AdminSettings, GatewayConfig } from './config-schema.ts';

/**
 * What would go wrong at a start, as this user on this machine, although nothing is wrong with the configuration itself. Looks, and changes
 * nothing. A start does not ask: it tries, and knows better.
 */
export async function startProblems({ listeners, admin, stateDir }: GatewayConfig): Promise<readonly Problem[]> {
  const rights = await bindRights();
  return [
    ...listeners.flatMap(({ endpoint }, index) => portProblems(endpoint, ['listeners', index, 'port'], rights)),
    ...admin.flatMap(({ endpoint }) => portProblems(endpoint, ['admin', 'port'], rights)),
    ...(await Promise.all(admin.map(tokenProblems))).flat(),
    ...(stateDir === undefined ? [] : await folderProblems(stateDir)),
  ];
}

/** A token that cannot be read lets nobody change anything. */
async function tokenProblems({ tokenFile }: AdminSettings): Promise<readonly Problem[]> {
  if (tokenFile === undefined) return [];
  const token = await readRegularFile(tokenFile).catch(errorOf);
  if (typeof token !== 'string') return [{ path: ['admin', 'tokenFile'], message: token.message }];
  return token.trim() === '' ? [{ path: ['admin', 'tokenFile'], message: `no token in ${tokenFile}` }] : [];
}

/** What is allowed and unwise. */
export function startWarnings({ admin }: GatewayConfig): readonly string[] {
  return admin
    .filter(({ endpoint, tokenFile }) => tokenFile === undefined && isBeyondThisMachine(endpoint.host))
    .map(
      ({ endpoint }) =>
        `the admin API on ${formatEndpoint(endpoint)} is beyond loopback without admin.tokenFile: anybody who reaches it may look, nobody may change anything`,
    );
}

/** What Linux says of ports that not everybody may listen on. */
export interface BindRights {
  /** Capabilities in effect, hexadecimal, as `CapEff` in `/proc/self/status`. */
  readonly capabilities: string;
  /** `net.ipv4.ip_unprivileged_port_start`. */
  readonly firstFreePort: number;
}

/** @param rights absent: whoever asks may listen anywhere, or nobody can tell */
export function portProblems(
  { host, port }: Endpoint,
  path: Problem['path'],
  rights: BindRights | undefined,
): readonly Problem[] {
  const isFree = host.startsWith('unix:') || port === 0 || rights === undefined || port >= rights.firstFreePort;
  if (isFree || (BigInt(`0x${rights.capabilities}`) & NET_BIND_SERVICE) !== 0n) return [];
  const message = `port ${port} takes root or CAP_NET_BIND_SERVICE: this user may listen on ports from ${rights.firstFreePort}`;
  return [{ path, message }];
}

/** `CAP_NET_BIND_SERVICE` (capabilities(7)). */
const NET_BIND_SERVICE = 1n << 10n;

async function bindRights(): Promise<BindRights | undefined> {
  if (platform() !== 'linux') return undefined;
  try {
    const [status, first] = await Promise.all([
      readFile('/proc/self/status', 'utf8'),
      readFile('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8'),
    ]);
    const capabilities = /^CapEff:\s*([\da-f]+)$/im.exec(status)?.[1];
    return capabilities === undefined ? undefined : { capabilities, firstFreePort: Number(first) };
  } catch {
    return undefined;
  }
}

/** The folder need not be there yet: it is made when it is first needed, in the nearest one that is. */
async function folderProblems(folder: string): Promise<readonly Problem[]> {
  for (let at = folder; ; at = dirname(at)) {
    const code = await access(at, constants.W_OK | constants.X_OK).catch(
      ({ code: found }: NodeJS.ErrnoException) => found,
    );
    if (code === undefined) return [];
    if (code === 'ENOENT' && at !== dirname(at)) continue;
    return [{ path: ['stateDir'], message: `the folder cannot be written: ${at} (${code})` }];
  }
}
