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
  for await (const { entries } of entryChanges(agent, kind, signal)) yield entries;
}

/** The entries of one kind after a change. */
export interface EntryChange {
  readonly entries: readonly JsonObject[];
  /** Number of changes so far. */
  readonly count: number;
  /** Number of those whose index was below the previous one, as after a restore of the servers. */
  readonly rewinds: number;
}

/** Same as {@link entriesOfKind}, with counts. */
export async function* entryChanges(agent: Agent, kind: string, signal: AbortSignal): AsyncGenerator<EntryChange> {
  const path = `config/${kind}`;
  let [count, rewinds] = [0, 0];
  try {
    for await (const response of blockingQuery(agent, { path }, signal)) {
      const entries = parsed(response, path, 'a list of config entries', (json) =>
        json === null ? [] : listOfObjects(json),
      );
      if (response.rewound) rewinds += 1;
      yield { entries, count: (count += 1), rewinds };
    }
  } catch (reason) {
    if (!(reason instanceof AgentError) || !/invalid config entry kind/i.test(reason.complaint)) throw reason;
    yield { entries: [], count: count + 1, rewinds };
    await aborted(signal);
  }
}
