import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import { formatEndpoint } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import { SERVICES } from './picture.ts';
import type { Service } from './picture.ts';
import type { Stage } from './folder.ts';

/** The response of a service's application to any request. */
export function responseOf({ name, datacenter }: Pick<Service, 'name' | 'datacenter'>): string {
  return `${name} in ${datacenter} answers`;
}

/** Starts the application of every service: plain HTTP, on loopback, for its sidecar only. It knows nothing of the mesh. */
export async function startApplications(stage: Pick<Stage, 'at'>): Promise<AsyncDisposable> {
  const servers: Server[] = [];
  const stop = async (): Promise<void> => void (await Promise.all(servers.map(stopped)));
  try {
    for (const service of SERVICES) servers.push(await started(stage.at(service.application), responseOf(service)));
  } catch (reason) {
    await stop();
    throw reason;
  }
  return { [Symbol.asyncDispose]: stop };
}

async function started(at: Endpoint, reply: string): Promise<Server> {
  // One connection per request, so that each appears in all logs on its path.
  const server = createServer((_request, response) => void response.setHeader('connection', 'close').end(`${reply}\n`));
  server.listen(at);
  try {
    await once(server, 'listening');
  } catch (reason) {
    const found = reason instanceof Error ? reason.message : String(reason);
    throw new Error(`expected to listen at ${formatEndpoint(at)}, found: ${found}`, { cause: reason });
  }
  return server;
}

async function stopped(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}
