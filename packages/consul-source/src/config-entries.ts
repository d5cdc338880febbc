import { aborted } from '@meshgate/core/parts';
import { AgentError, hasStatus, parsed } from './agent.ts';
import type { Agent } from './agent.ts';
import { blockingQuery } from './blocking-query.ts';
import { listOfObjects, object } from './json.ts';
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
  let [count, rewinds] = [0, 0];
  try {
    for await (const { entries, rewound } of entryLists(agent, kind, signal)) {
      if (rewound) rewinds += 1;
      yield { entries, count: (count += 1), rewinds };
    }
  } catch (reason) {
    if (!(reason instanceof AgentError) || !/invalid config entry kind/i.test(reason.complaint)) throw reason;
    yield { entries: [], count: count + 1, rewinds };
    await aborted(signal);
  }
}

interface EntryList extends Pick<EntryChange, 'entries'> {
  readonly rewound: boolean;
}

/** Follows the list of a kind; where the token may not read it, the only entry of the kind by its name, if it has one. */
async function* entryLists(agent: Agent, kind: string, signal: AbortSignal): AsyncGenerator<EntryList> {
  const path = `config/${kind}`;
  const only = ONLY_ENTRIES.get(kind);
  try {
    for await (const response of blockingQuery(agent, { path }, signal)) {
      const entries = parsed(response, path, 'a list of config entries', (json) =>
        json === null ? [] : listOfObjects(json),
      );
      if (only !== undefined && response.filtered && entries.length === 0) break;
      yield { entries, rewound: response.rewound };
    }
  } catch (reason) {
    if (only === undefined || !hasStatus(reason, 403)) throw reason;
  }
  if (only === undefined || signal.aborted) return;
  const named = `${path}/${only}`;
  for await (const response of blockingQuery(agent, { path: named, mayBeMissing: true }, signal)) {
    const entries = response.found ? [parsed(response, named, 'a config entry', object)] : [];
    yield { entries, rewound: response.rewound };
  }
}

/** Names of the only entry of a kind. Every token may read these entries by their names. */
const ONLY_ENTRIES: ReadonlyMap<string, string> = new Map([
  ['mesh', 'mesh'],
  ['proxy-defaults', 'global'],
]);
