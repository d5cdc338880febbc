import { formatEndpoint } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import type { GatewayConfig } from '../config/config-schema.ts';

/**
 * Explains to operators why an address could not be bound: which setting names it, and what may use it.
 *
 * @returns `undefined` when `reason` is another error
 */
export function bindFailure(reason: unknown, config: GatewayConfig): string | undefined {
  const { code, syscall, address, port, message } = Object(reason) as NodeJS.ErrnoException & Partial<Address>;
  // The failed connect of a plugin also has an address.
  if (address === undefined || syscall === 'connect') return undefined;
  const endpoint = isSocketFile(address) ? { host: asSocket(address), port: 0 } : { host: address, port: port ?? 0 };
  const who = `${ownerOf(endpoint, config)} cannot listen on ${formatEndpoint(endpoint)}`;
  return `${who}: ${explained(code, endpoint) ?? message}`;
}

/** Explains a bind error code; `undefined` for an unknown one. */
export function explained(code: string | undefined, endpoint: Endpoint): string | undefined {
  return EXPLAINED[code ?? '']?.(endpoint);
}

/** Fields of Node's errors. */
interface Address {
  readonly address: string;
  readonly port: number;
}

function ownerOf(endpoint: Endpoint, { listeners, admin }: GatewayConfig): string {
  const isSame = (other: Endpoint): boolean => other.host === endpoint.host && other.port === endpoint.port;
  const listener = listeners.find((one) => isSame(one.endpoint));
  if (listener !== undefined) return `listener ${listener.name}`;
  return admin.some((one) => isSame(one.endpoint)) ? 'the admin server' : 'the gateway';
}

const EXPLAINED: Readonly<Record<string, (endpoint: Endpoint) => string>> = {
  EADDRINUSE: ({ host, port }) =>
    isSocketFile(host)
      ? STALE_SOCKET
      : `already in use, perhaps by another gateway (ss -ltnp 'sport = :${port}' or lsof -i :${port} shows by whom)`,
  EADDRNOTAVAIL: () => 'address not assigned to a local interface',
  ENODEV: ({ host }) => `no network interface ${host.replace(/^[^%]*%/, '')}`,
  EACCES: () => 'permission denied: ports below 1024 require root or CAP_NET_BIND_SERVICE',
};

/** Whether an address is a unix socket: transport `node` reports its path, `epoll` the configured form. */
function isSocketFile(address: string): boolean {
  return address.startsWith('/') || address.startsWith('unix:');
}

function asSocket(address: string): string {
  return address.startsWith('unix:') ? address : `unix:${address}`;
}

// A socket without a listening process would have been replaced.
const STALE_SOCKET = 'the file exists: another process listens on it (ss -xl shows which), or it is not a socket';
