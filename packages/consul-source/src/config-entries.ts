import { aborted } from '@meshgate/core/parts';
import { AgentError, parsed } from './agent.ts';
import type { Agent } from './agent.ts';
import { blockingQuery } from './blocking-query.ts';
import { listOfObjects } from './json.ts';
import type { JsonObject } from './json.ts';

/**
 * Follows the configuration entries of one kind; yields none where the agent is too old for this kind, and rejects it.
 *
 * Also serves kinds with a single entry: a query for a missing entry by its name writes an error to the agent's log
 * each time.
 */
export async function* entriesOfKind(
  agent: Agent,
  kind: string,
  signal: AbortSignal,
): AsyncGenerator<readonly JsonObject[]> {
  const path = `config/${kind}`;
  try {
    for await (const response of blockingQuery(agent, { path }, signal))
      yield parsed(response, path, 'a list of config entries', (json) => listOfObjects(json ?? []));
  } catch (reason) {
    if (!(reason instanceof AgentError) || !/invalid config entry kind/i.test(reason.complaint)) throw reason;
    yield [];
    await aborted(signal);
  }
}
