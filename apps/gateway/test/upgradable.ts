import { adminClient } from '../src/admin/client.ts';
import type { AdminClient } from '../src/admin/client.ts';
import { startGateway } from './daemon.ts';
import type { ReadyDaemon } from './daemon.ts';

/** Asks whichever process serves now, on a connection of its own. */
export function ask(gateway: Pick<ReadyDaemon, 'admin'>): AdminClient {
  return adminClient(new URL(gateway.admin));
}

export async function servingPid(gateway: Pick<ReadyDaemon, 'admin'>): Promise<number> {
  return ((await ask(gateway).get('/status')) as { readonly pid: number }).pid;
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
export async function upgraded(gateway: Pick<ReadyDaemon, 'admin'>): Promise<number> {
  const { pid } = (await ask(gateway).change('POST', '/upgrade', 30_000)) as { readonly pid: number };
  // Its predecessor may have answered a request that was on its way.
  while ((await servingPid(gateway)) !== pid);
  return pid;
}
