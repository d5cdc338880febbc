import { AgentError, hasStatus, parsed } from './agent.ts';
import type { Agent, ResponseFormat } from './agent.ts';
import { blockingQuery, constant, orElse } from './blocking-query.ts';
import { listOfObjects, object } from './json.ts';
import type { JsonObject } from './json.ts';

/**
 * Follows the configuration entries of one kind; yields none where the agent is too old for this kind, and rejects it.
 *
 * Also serves kinds with a single entry: a query for a missing entry by its name writes an error to the agent's log
 * each time.
 */
export async function* configEntries<T>(
  agent: Agent,
  { kind, read }: { readonly kind: string; read(entries: readonly JsonObject[]): T },
  signal: AbortSignal,
): AsyncGenerator<T> {
  for await (const { entries } of entryChanges(agent, kind, signal)) yield read(entries);
}

/** The entries of one kind after a change. */
export interface EntryChange {
  readonly entries: readonly JsonObject[];
  /** Number of changes so far. */
  readonly count: number;
  /** Number of those whose index was below the previous one, as after a restore of the servers. */
  readonly rewinds: number;
}

/** Same as {@link configEntries}, unparsed and with counts. */
export function entryChanges(agent: Agent, kind: string, signal: AbortSignal): AsyncGenerator<EntryChange> {
  let [count, rewinds] = [0, 0];
  return orElse(changes(), isUnknownKind, () => constant({ entries: [], count: count + 1, rewinds }, signal));

  async function* changes(): AsyncGenerator<EntryChange> {
    for await (const { entries, rewound } of entryLists(agent, kind, signal)) {
      if (rewound) rewinds += 1;
      yield { entries, count: (count += 1), rewinds };
    }
  }
}

function isUnknownKind(reason: unknown): reason is AgentError {
  return reason instanceof AgentError && /invalid config entry kind/i.test(reason.complaint);
}

interface EntryList extends Pick<EntryChange, 'entries'> {
  readonly rewound: boolean;
}

/** Follows the list of a kind; where the token may not read it, the only entry of the kind by its name, if it has one. */
async function* entryLists(agent: Agent, kind: string, signal: AbortSignal): AsyncGenerator<EntryList> {
  const format = entriesFormat(kind);
  const only = ONLY_ENTRIES.get(kind);
  try {
    for await (const response of blockingQuery(agent, format, signal)) {
      const entries = parsed(response, format);
      if (only !== undefined && response.filtered && entries.length === 0) break;
      yield { entries, rewound: response.rewound };
    }
  } catch (reason) {
    if (only === undefined || !hasStatus(reason, 403)) throw reason;
  }
  if (only === undefined || signal.aborted) return;
  const named = { path: `${format.path}/${only}`, expected: 'a config entry', read: object, mayBeMissing: true };
  for await (const response of blockingQuery(agent, named, signal))
    yield { entries: response.found ? [parsed(response, named)] : [], rewound: response.rewound };
}

/** Returns the path and the format of the list of entries of one kind. */
export function entriesFormat(kind: string): ResponseFormat<readonly JsonObject[]> {
  const read = (json: unknown): readonly JsonObject[] | undefined => (json === null ? [] : listOfObjects(json));
  return { path: `config/${kind}`, expected: 'a list of config entries', read };
}

/** Names of the only entry of a kind. Every token may read these entries by their names. */
const ONLY_ENTRIES: ReadonlyMap<string, string> = new Map([
  ['mesh', 'mesh'],
  ['proxy-defaults', 'global'],
]);
