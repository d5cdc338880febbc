import { isIP } from 'node:net';
import { formatEndpoint } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import { plainHost } from '@meshgate/core/parts';
import { DEFAULT_ADDRESS, parseAgentAddress } from '@meshgate/consul-source';
import type { PlacedUse } from './config.ts';
import type { AdminSettings } from './config-schema.ts';

/**
 * Returns `uses`, where a registration with a local Consul agent has a check of `/ready`: an open port does not show
 * whether there are routes. With a remote agent, or an admin API on a unix socket, on an unknown port or off, the agent
 * checks the port, as for Consul's own command.
 */
export function withReadyCheck(uses: readonly PlacedUse[], admin: readonly AdminSettings[]): readonly PlacedUse[] {
  const url = readyUrl(admin);
  if (url === undefined) return uses;
  return uses.map((use) => {
    const settings = mapping(use.settings);
    if (use.use !== 'consul' || !('register' in settings) || !isLocal(settings['address'])) return use;
    const register = mapping(settings['register'] ?? {});
    return 'readyUrl' in register
      ? use
      : { ...use, settings: { ...settings, register: { ...register, readyUrl: url } } };
  });
}

function readyUrl(admin: readonly AdminSettings[]): string | undefined {
  const open = admin.find(({ endpoint: { host, port } }) => port > 0 && isIP(host) !== 0);
  return open && `http://${formatEndpoint(reached(open.endpoint))}/ready`;
}

/** Returns the loopback address of the family for a wildcard. */
function reached({ host, port }: Endpoint): Endpoint {
  return { host: LOOPBACK[plainHost(host)] ?? host, port };
}

const LOOPBACK: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };

function isLocal(address: unknown): boolean {
  const parsed = parseAgentAddress(typeof address === 'string' ? address : DEFAULT_ADDRESS);
  if (parsed.kind === 'invalid') return false;
  const { hostname } = new URL(parsed.origin);
  return hostname === 'localhost' || hostname === '[::1]' || hostname.startsWith('127.');
}

type AdminMapping = Readonly<Record<string, unknown>>;

/** The plugin's parser rejects anything but a mapping. */
function mapping(value: unknown): AdminMapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as AdminMapping) : {};
}
