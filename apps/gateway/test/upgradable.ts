import { readFileSync } from 'node:fs';
import { settlesWithin } from '@meshgate/core/parts';
import type { TlsClient } from '@meshgate/testkit';
import { adminClient } from '../src/admin/client.ts';
import type { AdminClient } from '../src/admin/client.ts';
import { startGateway } from './daemon.ts';
import type { ReadyDaemon } from './daemon.ts';

/** Asks whichever process serves now, on a connection of its own. */
export function query(gateway: Pick<ReadyDaemon, 'admin'>): AdminClient {
  return adminClient(new URL(gateway.admin));
}

export async function servingPid(gateway: Pick<ReadyDaemon, 'admin'>): Promise<number> {
  return ((await query(gateway).get('/status')) as { readonly pid: number }).pid;
}

/** A gateway whose processes are all ended with the test, whichever of them serves by then. */
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

/** Has a successor take over. @returns its process id, once it is the one that answers */
export async function upgraded(gateway: ReadyDaemon): Promise<number> {
  const { pid } = (await query(gateway).change('POST', '/upgrade', 30_000)) as { readonly pid: number };
  // Its predecessor may have answered a request that was on its way.
  const responses = async (): Promise<boolean> => (await servingPid(gateway)) === pid;
  await until(responses, `process ${pid} to answer`, gateway);
  return pid;
}

/** What has become of a load: connections that were served, and what went wrong with any of them. */
export interface Carried {
  readonly served: number;
  readonly failed: readonly string[];
}

/** New connections without a pause, each of which must be served, and streams that go on all the while. */
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
        // Once in any case: a client that is gone before its handshake is complete leaves a backend that waits for it.
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

/** Longer than anything takes of what a test waits for. */
const PATIENCE_MS = 20_000;

/** Looks again and again until `condition` holds. @throws Error that tells the state of the gateway when it does not in time */
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

/** What `waited` settles with. @throws Error that tells the state of the gateway when it does not settle in time */
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
