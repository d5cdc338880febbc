import { isIP } from 'node:net';
import { formatEndpoint } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import { DEFAULT_ADDRESS, parseAgentAddress } from '@meshgate/consul-source';
import type { PlacedUse } from './config.ts';
import type { AdminSettings } from './config-schema.ts';

/**
 * `uses`, of which one that registers the gateway with a Consul agent of this machine has the agent ask `/ready`: an open port says
 * nothing of routes. Where the agent is elsewhere, or the admin API is on a unix socket, on a port not known yet or nowhere, the agent
 * looks at the port, as for Consul's own command.
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

/** A wildcard is reached at the loopback address of its family. */
function reached({ host, port }: Endpoint): Endpoint {
  if (host === '0.0.0.0') return { host: '127.0.0.1', port };
  return { host: host === '::' ? '::1' : host, port };
}

function isLocal(address: unknown): boolean {
  const parsed = parseAgentAddress(typeof address === 'string' ? address : DEFAULT_ADDRESS);
  if (parsed.kind === 'invalid') return false;
  const { hostname } = new URL(parsed.origin);
  return hostname === 'localhost' || hostname === '[::1]' || hostname.startsWith('127.');
}

type AdminMapping = Readonly<Record<string, unknown>>;

/** What is no mapping is refused by whoever reads it. */
function mapping(value: unknown): AdminMapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as AdminMapping) : {};
}
