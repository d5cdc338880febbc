import { once } from 'node:events';
import type { Server } from 'node:net';
import { unixPath } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';

/** Any free port on loopback. */
export const LOOPBACK: Endpoint = { host: '127.0.0.1', port: 0 };

/** Binds `server` and returns its address. Rejects with the system's error. */
export async function bind(server: Server, at: Endpoint, backlog?: number): Promise<Endpoint> {
  const path = unixPath(at);
  const where = path === undefined ? { host: at.host, port: at.port } : { path };
  server.listen(backlog === undefined ? where : { ...where, backlog });
  await once(server, 'listening');
  const bound = server.address();
  return bound === null || typeof bound === 'string' ? at : { host: bound.address, port: bound.port };
}

/** Stops listening; resolves when every connection of `server` is closed. */
export async function unbind(server: Server): Promise<void> {
  await new Promise<void>((resolve) => server.close(() => resolve()));
}
