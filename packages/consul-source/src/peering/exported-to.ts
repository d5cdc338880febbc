import { AgentError, parsed } from '../agent.ts';
import type { Agent } from '../agent.ts';
import { object, objects, text } from '../json.ts';
import { exportedNamesOf } from './peering-records.ts';

/** A service of this cluster, and a peer that may import it. */
export interface PossibleExport {
  readonly service: string;
  readonly peer: string;
}

/**
 * Whether `service` is exported to `peer`, by its own name or by another name whose discovery chain leads to it. Also
 * `true` when the token may not read the exports: intentions alone then decide.
 *
 * @throws AgentError when the agent fails
 */
export async function isExported(
  agent: Agent,
  { service, peer }: PossibleExport,
  signal: AbortSignal,
): Promise<boolean> {
  const path = 'internal/ui/exported-services';
  try {
    const response = await agent.request({ path, query: { peer }, timeoutMs: TIMEOUT_MS }, signal);
    const exports = parsed(response, path, 'a list of services', exportedNamesOf);
    if (response.filtered || exports.some(({ name }) => name === service)) return true;
    for (const { name } of exports) if (await leadsTo(agent, { name, service }, signal)) return true;
    return false;
  } catch (reason) {
    if (reason instanceof AgentError && (reason.status === 403 || reason.status === 404)) return true;
    throw reason;
  }
}

// The caller's connection waits for the response.
const TIMEOUT_MS = 5_000;

async function leadsTo(
  agent: Agent,
  { name, service }: { readonly name: string; readonly service: string },
  signal: AbortSignal,
): Promise<boolean> {
  const path = `discovery-chain/${encodeURIComponent(name)}`;
  const response = await agent.request({ path, timeoutMs: TIMEOUT_MS }, signal);
  const targets = parsed(response, path, 'a discovery chain', (json) =>
    object(object(object(json)?.['Chain'])?.['Targets']),
  );
  return objects(Object.values(targets)).some(
    (target) => text(target['Service']) === service && text(target['Peer']) === '',
  );
}
