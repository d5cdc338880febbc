import { AgentError, parsed, parsedResponse } from '../agent.ts';
import type { Agent } from '../agent.ts';
import { entriesFormat } from '../config-entries.ts';
import { object, objects, text } from '../json.ts';
import type { JsonObject } from '../json.ts';
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
    const exports = parsed(response, { path, expected: 'a list of services', read: exportedNamesOf });
    if (exports.some(({ name }) => name === service)) return { kind: 'exported' };
    if (response.filtered) return { kind: 'unknown', why: NO_RULE };
    if (exports.length === 0) return { kind: 'not-exported' };
    const aliases = await namesConnectedTo(agent, service, signal);
    if (aliases === undefined) return { kind: 'unknown', why: NO_RULE };
    for (const { name } of exports)
      if (aliases.has(name.toLowerCase()) && (await leadsTo(agent, { name, service }, signal)))
        return { kind: 'exported' };
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

/**
 * Returns the names, in lower case, whose entries mention `service`, or mention such a name. All other chains lead
 * elsewhere, so that they need no query. Returns `undefined` when the token may not read all entries.
 */
async function namesConnectedTo(
  agent: Agent,
  service: string,
  signal: AbortSignal,
): Promise<ReadonlySet<string> | undefined> {
  const lists = await Promise.all(
    CHAIN_KINDS.map(async (kind) => {
      const format = entriesFormat(kind);
      const response = await agent.request({ ...format, timeoutMs: TIMEOUT_MS }, signal);
      return { entries: parsed(response, format), isFiltered: response.filtered };
    }),
  );
  if (lists.some(({ isFiltered }) => isFiltered)) return undefined;
  const mentions = lists
    .flatMap(({ entries }) => entries)
    .map((entry) => ({ name: text(entry['Name']).toLowerCase(), services: servicesIn(entry) }));
  const connected = new Set([service.toLowerCase()]);
  // A set yields what is added while it is read.
  for (const target of connected)
    for (const { name, services } of mentions) if (services.includes(target)) connected.add(name);
  return connected;
}

/** Kinds of entries that lead from one service to another. */
const CHAIN_KINDS = ['service-resolver', 'service-splitter', 'service-router'] as const;

/** Returns the values of all keys `Service` in lower case, at any depth: redirects, failover, splits, destinations. */
function servicesIn(json: unknown): readonly string[] {
  if (Array.isArray(json)) return json.flatMap(servicesIn);
  return Object.entries(object(json) ?? {}).flatMap(([key, value]) =>
    key === 'Service' ? [text(value).toLowerCase()] : servicesIn(value),
  );
}

async function leadsTo(
  agent: Agent,
  { name, service }: { readonly name: string; readonly service: string },
  signal: AbortSignal,
): Promise<boolean> {
  const path = `discovery-chain/${encodeURIComponent(name)}`;
  const read = (json: unknown): JsonObject | undefined => object(object(object(json)?.['Chain'])?.['Targets']);
  const request = { path, timeoutMs: TIMEOUT_MS, expected: 'a discovery chain', read };
  const targets = await parsedResponse(agent, request, signal);
  return objects(Object.values(targets)).some(
    (target) => text(target['Service']) === service && text(target['Peer']) === '',
  );
}
