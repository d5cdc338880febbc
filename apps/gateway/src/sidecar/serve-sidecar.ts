import type { ProxyChoice } from '@meshgate/mesh';
import type { LogTarget } from '../log/logger.ts';
import { run } from '../run/serve.ts';
import type { ConfigOrigin, RunningProxy, ServeStatus, Signals } from '../run/serve.ts';
import { composeSidecar } from './compose-sidecar.ts';
import { loadSidecar } from './load-sidecar.ts';

/**
 * Runs a sidecar until it has drained and stopped, or has failed.
 *
 * @throws ConfigProblems when the configuration is invalid; nothing is started then
 */
export async function serveSidecar(
  { file, amend }: ConfigOrigin,
  choice: ProxyChoice,
  target: LogTarget,
  signals: Signals,
): Promise<ServeStatus> {
  const loaded = await loadSidecar(file, amend, choice);
  const { transport } = loaded.transport;
  const proxy: RunningProxy = {
    loaded,
    composeWith: ({ log, shares, control, origin, shutDown }) =>
      composeSidecar(loaded, { log, transport, limits: shares.total, control, origin, shutDown }),
    loadAgain: () => loadSidecar(file, amend, choice),
  };
  return run(proxy, target, signals);
}
