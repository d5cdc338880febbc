import { AgentError, parsed } from '../agent.ts';
import type { Agent } from '../agent.ts';
import { object, objects, text } from '../json.ts';
import { exportedNamesOf } from './peering-records.ts';

/** A service of this cluster, and a peer that may import it. */
export interface PossibleExport {
  readonly service: string;
  readonly peer: string;
}

/** Whether a service is exported to a peer. `unknown`: the exports cannot be read, for the reason `why`. */
export type ExportDecision =
  { readonly kind: 'exported' | 'not-exported' } | { readonly kind: 'unknown'; readonly why: string };

/**
 * Determines whether `service` is exported to `peer`, by its own name or by another name whose discovery chain leads to
 * it.
 *
 * @throws AgentError when the agent fails
 */
export async function exportTo(
  agent: Agent,
  { service, peer }: PossibleExport,
  signal: AbortSignal,
): Promise<ExportDecision> {
  const path = 'internal/ui/exported-services';
  try {
    const response = await agent.request({ path, query: { peer }, timeoutMs: TIMEOUT_MS }, signal);
    const exports = parsed(response, path, 'a list of services', exportedNamesOf);
    if (exports.some(({ name }) => name === service)) return { kind: 'exported' };
    if (response.filtered) return { kind: 'unknown', why: NO_RULE };
    for (const { name } of exports) if (await leadsTo(agent, { name, service }, signal)) return { kind: 'exported' };
    return { kind: 'not-exported' };
  } catch (reason) {
    if (!(reason instanceof AgentError)) throw reason;
    if (reason.status === 403) return { kind: 'unknown', why: NO_RULE };
    if (reason.status === 404) return { kind: 'unknown', why: `the agent has no ${path}` };
    throw reason;
  }
}

const NO_RULE = 'the token needs service_prefix "" { policy = "read" }';
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
