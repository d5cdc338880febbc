import { access, constants, lstat, readFile, stat } from 'node:fs/promises';
import { isIP } from 'node:net';
import { networkInterfaces, platform } from 'node:os';
import { dirname } from 'node:path';
import { formatEndpoint } from '@meshgate/core';
import type { Endpoint, Problem } from '@meshgate/core';
import { errorOf, isAnyAddress, isLocalAddress, overlap, readRegularFile } from '@meshgate/core/parts';
import { isBeyondThisMachine } from '../admin/change-guard.ts';
import type { AdminSettings, GatewayConfig } from './config-schema.ts';
import type { PlacedListener } from './plugins.ts';

/**
 * Returns the problems with which a start by this user on this machine would fail, although the configuration is valid.
 * Read-only. A start itself does not check, it tries.
 */
export async function startProblems(
  { listeners, admin, stateDir }: GatewayConfig,
  listening: readonly PlacedListener[] = [],
): Promise<readonly Problem[]> {
  const rights = await bindRights();
  const sockets = [
    ...listeners.map(({ endpoint }, index) => ({ endpoint, path: ['listeners', index, 'address'] })),
    ...admin.map(({ endpoint }) => ({ endpoint, path: ['admin', 'address'] })),
  ];
  return [
    ...listeners.flatMap(({ endpoint }, index) => portProblems(endpoint, ['listeners', index, 'port'], rights)),
    ...admin.flatMap(({ endpoint }) => portProblems(endpoint, ['admin', 'port'], rights)),
    ...listening.flatMap(({ at, path }) => portProblems(at.endpoint, path, rights)),
    ...listening.flatMap(nameProblems),
    ...clashes({ listeners, admin }, listening),
    ...(await Promise.all(sockets.map(({ endpoint, path }) => socketProblems(endpoint, path)))).flat(),
    ...(await Promise.all(admin.map(tokenProblems))).flat(),
    ...(stateDir === undefined ? [] : await folderProblems(stateDir)),
  ];
}

/**
 * Checks addresses from sources, which may be names, as in Consul's own registrations. Configured listeners have been
 * checked already.
 */
function nameProblems({ at: { name, endpoint }, path }: PlacedListener): readonly Problem[] {
  const { host } = endpoint;
  if (host.startsWith('unix:') || host === 'localhost' || isIP(host.replace(/^\[(.*)\]$/, '$1')) !== 0) return [];
  return [{ path, message: `expected an IP address for listener ${name} to listen on, found ${JSON.stringify(host)}` }];
}

/** Reports listeners of sources that can never be bound, since another listener of this gateway has their address. */
function clashes(
  { listeners, admin }: Pick<GatewayConfig, 'listeners' | 'admin'>,
  listening: readonly PlacedListener[],
): readonly Problem[] {
  return listening.flatMap(({ at, path }, index) => {
    const earlier = [...listeners, ...listening.slice(0, index).map((one) => one.at)];
    // If the configuration has the same address, the source's listener is the configured one.
    const rival = earlier.find(
      ({ endpoint }) => overlap(endpoint, at.endpoint) && !(listeners.length > 0 && isSame(endpoint, at.endpoint)),
    );
    const holder = rival ?? admin.find(({ endpoint }) => overlap(endpoint, at.endpoint));
    if (holder === undefined) return [];
    const who = rival === undefined ? 'the admin server' : `listener ${rival.name}`;
    const message = `listener ${at.name} cannot listen on ${formatEndpoint(at.endpoint)}: ${who} listens on ${formatEndpoint(holder.endpoint)}`;
    return [{ path, message }];
  });
}

function isSame(one: Endpoint, other: Endpoint): boolean {
  return formatEndpoint(one) === formatEndpoint(other);
}

/** Checks the path of a unix socket: its folder must exist, and the path must be free or a socket. */
async function socketProblems({ host }: Endpoint, path: Problem['path']): Promise<readonly Problem[]> {
  if (!host.startsWith('unix:')) return [];
  const file = host.slice('unix:'.length);
  if (Buffer.byteLength(file) > MAX_SOCKET_PATH_BYTES)
    return [
      {
        path,
        message: `expected a path of at most ${MAX_SOCKET_PATH_BYTES} bytes for a unix socket, found ${Buffer.byteLength(file)}`,
      },
    ];
  const status = await stat(file).catch(({ code }: NodeJS.ErrnoException) => code);
  if (typeof status === 'object')
    return status.isSocket()
      ? []
      : [{ path, message: `expected a socket or nothing at ${file}, found something else` }];
  if (status !== 'ENOENT') return [{ path, message: `cannot create the socket: ${file} (${status})` }];
  const code = await access(dirname(file), constants.W_OK | constants.X_OK).catch(
    ({ code: found }: NodeJS.ErrnoException) => found,
  );
  return code === undefined ? [] : [{ path, message: `cannot create the socket: ${dirname(file)} (${code})` }];
}

/** `sun_path` of unix(7), without the final NUL. */
const MAX_SOCKET_PATH_BYTES = 107;

/** Checks the token: an unreadable one would block every change. */
async function tokenProblems({ tokenFile }: AdminSettings): Promise<readonly Problem[]> {
  if (tokenFile === undefined) return [];
  const token = await readRegularFile(tokenFile).catch(errorOf);
  if (typeof token !== 'string') return [{ path: ['admin', 'tokenFile'], message: token.message }];
  return token.trim() === '' ? [{ path: ['admin', 'tokenFile'], message: `no token in ${tokenFile}` }] : [];
}

/** Distinguishes a dangling link from a missing folder: no folder can be created in its place. */
async function isLink(path: string): Promise<boolean> {
  return lstat(path).then(
    (found) => found.isSymbolicLink(),
    () => false,
  );
}

/** Warns of settings that are valid, but insecure, and of addresses that this machine does not have at the moment. */
export function startWarnings({ listeners, admin }: GatewayConfig): readonly string[] {
  const foreign = [
    ...listeners.map(({ name, endpoint }) => ({ who: `listener ${name}`, endpoint })),
    ...admin.map(({ endpoint }) => ({ who: 'the admin server', endpoint })),
  ].filter(({ endpoint }) => isForeign(endpoint.host));
  return [...foreign.map(({ who, endpoint }) => foreignWarning(who, endpoint)), ...exposureWarnings(admin)];
}

/** Whether no interface has the address, such as that of a failover pair, which this machine may get later. */
function isForeign(host: string): boolean {
  if (isIP(host) === 0 || isAnyAddress(host)) return false;
  const [, zone] = host.split('%');
  const isKnownZone = zone === undefined || /^\d+$/.test(zone) || zone in networkInterfaces();
  return !isKnownZone || !isLocalAddress(host);
}

function foreignWarning(who: string, endpoint: Endpoint): string {
  return `${who} on ${formatEndpoint(endpoint)}: no interface of this machine has the address; a start fails without it, unless net.ipv4.ip_nonlocal_bind or net.ipv6.ip_nonlocal_bind is 1`;
}

function exposureWarnings(admin: GatewayConfig['admin']): readonly string[] {
  return admin
    .filter(({ endpoint, tokenFile }) => tokenFile === undefined && isBeyondThisMachine(endpoint.host))
    .map(
      ({ endpoint }) =>
        `the admin API on ${formatEndpoint(endpoint)} is beyond loopback without admin.tokenFile: every client that can reach it can read it, and changes are refused`,
    );
}

/** Linux's rules for privileged ports. */
export interface BindRights {
  /** Effective capabilities, hexadecimal, as `CapEff` in `/proc/self/status`. */
  readonly capabilities: string;
  /** `net.ipv4.ip_unprivileged_port_start`. */
  readonly firstFreePort: number;
}

/** @param rights absent when every port is allowed, or the rules are not known */
export function portProblems(
  { host, port }: Endpoint,
  path: Problem['path'],
  rights: BindRights | undefined,
): readonly Problem[] {
  const isFree = host.startsWith('unix:') || port === 0 || rights === undefined || port >= rights.firstFreePort;
  if (isFree || (BigInt(`0x${rights.capabilities}`) & NET_BIND_SERVICE) !== 0n) return [];
  const message = `port ${port} requires root or CAP_NET_BIND_SERVICE: this user may listen on ports from ${rights.firstFreePort}`;
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

/** Checks a folder that may not exist yet: its first use creates it in the nearest existing parent. */
async function folderProblems(folder: string): Promise<readonly Problem[]> {
  for (let at = folder; ; at = dirname(at)) {
    const code = await access(at, constants.W_OK | constants.X_OK).catch(
      ({ code: found }: NodeJS.ErrnoException) => found,
    );
    if (code === 'ENOENT' && at !== dirname(at) && !(await isLink(at))) continue;
    const isFolder = await stat(at).then(
      (found) => found.isDirectory(),
      () => code !== 'ENOENT',
    );
    if (!isFolder) return [{ path: ['stateDir'], message: `expected a folder at ${at}, found something else` }];
    return code === undefined ? [] : [{ path: ['stateDir'], message: `the folder cannot be written: ${at} (${code})` }];
  }
}
