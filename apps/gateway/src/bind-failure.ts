import { formatEndpoint } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import type { GatewayConfig } from './config-schema.ts';

/** Why the gateway could not start, in words for an operator; for a port that cannot be had: which listener, and who may hold it. */
export function startFailure(reason: unknown, config: GatewayConfig): string {
  const { code, address, port, message } = Object(reason) as NodeJS.ErrnoException & Partial<Address>;
  if (address === undefined) return message ?? String(reason);
  const endpoint = { host: address, port: port ?? 0 };
  const who = `${ownerOf(endpoint, config)} cannot listen on ${formatEndpoint(endpoint)}`;
  return `${who}: ${EXPLAINED[code ?? '']?.(endpoint) ?? message}`;
}

/** Node says in its errors which address it was about. */
interface Address {
  readonly address: string;
  readonly port: number;
}

function ownerOf(endpoint: Endpoint, { listeners, admin }: GatewayConfig): string {
  const isSame = (other: Endpoint): boolean => other.host === endpoint.host && other.port === endpoint.port;
  const listener = listeners.find((one) => isSame(one.endpoint));
  if (listener !== undefined) return `listener ${listener.name}`;
  return admin !== undefined && isSame(admin) ? 'the admin server' : 'the gateway';
}

const EXPLAINED: Readonly<Record<string, (endpoint: Endpoint) => string>> = {
  EADDRINUSE: ({ port }) =>
    `another process holds it, perhaps a gateway that still runs (ss -ltnp 'sport = :${port}' or lsof -i :${port} shows which)`,
  EADDRNOTAVAIL: () => 'the address is none of this machine',
  EACCES: () => 'not permitted: a port below 1024 takes root or CAP_NET_BIND_SERVICE',
};
