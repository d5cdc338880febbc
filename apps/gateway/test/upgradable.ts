import { readFileSync } from 'node:fs';
import { settlesWithin } from '@meshgate/core/parts';
import type { TlsClient } from '@meshgate/testkit';
import { adminClient } from '../src/admin/client.ts';
import type { AdminClient } from '../src/admin/client.ts';
import { startGateway } from './daemon.ts';
import type { ReadyDaemon } from './daemon.ts';

/** Queries the process that currently serves, over a new connection. */
export function query(gateway: Pick<ReadyDaemon, 'admin'>): AdminClient {
  return adminClient(new URL(gateway.admin));
}

export async function servingPid(gateway: Pick<ReadyDaemon, 'admin'>): Promise<number> {
  return ((await query(gateway).get('/status')) as { readonly pid: number }).pid;
}

/** A gateway all of whose processes end with the test, including successors. */
export async function upgradable(config: string): Promise<ReadyDaemon> {
  const gateway = await startGateway(config);
  const end = gateway[Symbol.asyncDispose].bind(gateway);
  return Object.assign(gateway, {
    async [Symbol.asyncDispose]() {
      const pid = await servingPid(gateway).catch(() => gateway.pid);
      if (pid !== gateway.pid) process.kill(pid, 'SIGKILL');
      await end();
    },
  });
}

/** Starts a successor. @returns its process id, once it answers */
export async function upgraded(gateway: ReadyDaemon): Promise<number> {
  const { pid } = (await query(gateway).change('POST', '/upgrade', 30_000)) as { readonly pid: number };
  // Its predecessor may have answered a pending request.
  const responses = async (): Promise<boolean> => (await servingPid(gateway)) === pid;
  await until(responses, `process ${pid} to answer`, gateway);
  return pid;
}

/** The result of a load: connections that were served, and failures. */
export interface Carried {
  readonly served: number;
  readonly failed: readonly string[];
}

/** New connections without a pause, each of which must be served, and long-lived streams. */
export function steadyLoad(connect: () => Promise<TlsClient>): { end(): Promise<Carried> } {
  const over = new AbortController();
  let served = 0;
  const failed: string[] = [];
  const briefly = async (): Promise<void> => {
    while (!over.signal.aborted) {
      try {
        await using client = await connect();
        if ((await client.echo('hello')) !== 'hello') failed.push('another answer');
        served += 1;
      } catch (reason) {
        failed.push(String(reason));
      }
    }
  };
  const stream = async (): Promise<void> => {
    while (!over.signal.aborted) {
      try {
        await using client = await connect();
        // At least one: a client that disconnects before its handshake is complete leaves a backend that waits for it.
        let sent = 0;
        do {
          await client.echo('x'.repeat(64 * 1024));
          sent += 1;
        } while (sent < 50 && !over.signal.aborted);
      } catch (reason) {
        failed.push(`stream: ${String(reason)}`);
      }
    }
  };
  const all = Promise.all([briefly(), briefly(), stream(), stream()]);
  return {
    async end() {
      over.abort();
      await all;
      return { served, failed };
    },
  };
}

/** Longer than anything that a test waits for. */
const PATIENCE_MS = 20_000;

/** Polls until `condition` holds. @throws Error with the state of the gateway on timeout */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  gateway: ReadyDaemon,
  withinMs = PATIENCE_MS,
): Promise<void> {
  const endsAt = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > endsAt) throw await timeoutError(what, gateway, withinMs);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** The outcome of `waited`. @throws Error with the state of the gateway on timeout */
export async function inTime<T>(waited: Promise<T>, what: string, gateway: ReadyDaemon): Promise<T> {
  if (await settlesWithin(waited, PATIENCE_MS)) return waited;
  throw await timeoutError(what, gateway, PATIENCE_MS);
}

async function timeoutError(what: string, gateway: ReadyDaemon, withinMs: number): Promise<Error> {
  const [status, drain, connections] = await Promise.all(
    ['/status', '/drain', '/connections'].map((path) => query(gateway).get(path).catch(String)),
  );
  const state = {
    started: `${gateway.pid}, ${stateOfProcess(gateway.pid)}`,
    status,
    drain,
    connections,
    lines: gateway.lines.slice(-LINES),
    stderr: gateway.stderr,
  };
  return new Error(`expected ${what} within ${withinMs / 1_000} s, found ${JSON.stringify(state, null, 1)}`);
}

const LINES = 20;

/** As Linux shows it. */
function stateOfProcess(pid: number): string {
  try {
    return /^State:\s*(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 'unknown';
  } catch {
    return 'gone, or not known';
  }
}
