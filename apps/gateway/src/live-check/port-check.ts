import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { dirname } from 'node:path';
import { formatEndpoint, unixPath } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import { adminClient, addressOf } from '../admin/client.ts';
import type { ListenerView } from '../admin/views.ts';
import { explained } from '../run/bind-failure.ts';
import type { Finding } from './finding.ts';

/** An address to listen on. */
export interface ListenTarget {
  /** Name in messages: `listener public`, `admin`. */
  readonly what: string;
  readonly endpoint: Endpoint;
}

/**
 * Checks whether each address can be bound, by binding and releasing it at once. An address of the gateway at `admin`
 * is not a problem, since a start replaces that gateway.
 */
export async function checkPorts(
  locations: readonly ListenTarget[],
  admin: readonly Endpoint[],
): Promise<readonly Finding[]> {
  const held = await heldAt(admin);
  return Promise.all(locations.map((location) => checkPort(location, held)));
}

async function checkPort({ what, endpoint }: ListenTarget, held: ReadonlySet<string>): Promise<Finding> {
  const shown = formatEndpoint(endpoint);
  const check = `${what} on ${shown}`;
  const path = unixPath(endpoint);
  const problem = path === undefined ? await bindingProblem(endpoint) : await socketProblem(path);
  if (problem === undefined) return { check, outcome: 'ok', found: 'can be bound' };
  if (problem.code === 'EADDRINUSE' && held.has(shown))
    return { check, outcome: 'ok', found: 'held by the running gateway' };
  return {
    check,
    outcome: 'failed',
    found: `cannot be bound: ${problem.code}`,
    advice: explained(problem.code, endpoint) ?? problem.message,
  };
}

/** Returns the listen addresses of the gateway at one of `admin`, and these addresses themselves. */
async function heldAt(admin: readonly Endpoint[]): Promise<ReadonlySet<string>> {
  for (const endpoint of admin) {
    const response = await adminClient(addressOf(endpoint))
      .get('/listeners')
      .catch(() => undefined);
    if (response === undefined) continue;
    return new Set([...admin, ...(response as ListenersResponse).listeners].map(formatEndpoint));
  }
  return new Set();
}

interface ListenersResponse {
  readonly listeners: readonly ListenerView[];
}

function bindingProblem({ host, port }: Endpoint): Promise<NodeJS.ErrnoException | undefined> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', resolve);
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

/** Checks a unix socket without creating its file, which watchers would notice. */
async function socketProblem(path: string): Promise<NodeJS.ErrnoException | undefined> {
  const code = await new Promise<string | undefined>((resolve) => {
    const socket = connect(path, () => resolve(undefined));
    socket
      .once('error', ({ code: found }: NodeJS.ErrnoException) => resolve(found))
      .once('connect', () => socket.destroy());
  });
  // No process listens: a start replaces the stale file.
  if (code === 'ECONNREFUSED') return undefined;
  if (code !== 'ENOENT') return Object.assign(new Error(code ?? 'in use'), { code: 'EADDRINUSE' });
  return access(dirname(path), constants.W_OK | constants.X_OK).then(
    () => undefined,
    (reason: NodeJS.ErrnoException) => reason,
  );
}
