import { setTimeout as pause } from 'node:timers/promises';
import type { Agent, AgentResponse, AgentRequest } from './agent.ts';

/** What to follow. */
export interface WatchedPath {
  /** Below `/v1/`. */
  readonly path: string;
  /** Parameters of the URL, not yet encoded; `index` and `wait` are added. */
  readonly query?: Readonly<Record<string, string>>;
  /** Sent by POST when there is one. */
  readonly body?: object;
  /** Free text fields to drop: a change of these alone is ignored. */
  readonly without?: readonly string[];
  /** A 404 is a valid response: the thing does not exist at the moment. */
  readonly mayBeMissing?: boolean;
  /** A response in which nothing is left is a sign of a loss by itself: it is told at once. */
  readonly impliesLoss?: boolean;
}

/** A response that differs from the previous one. */
export interface Change extends AgentResponse {
  /** The index went backwards: the servers' state was restored or lost. */
  readonly rewound: boolean;
}

/**
 * Follows a response of the agent by its index: yields it when first known, then at each change of its content. Ends when `signal`
 * aborts; throws the agent's errors.
 *
 * A blocking query that returns does not imply a change, nor does a new index: indexes cover whole tables, go backwards when servers
 * are restored, and are never sent below 1, since 0 would make the query return at once.
 *
 * An index lower than the previous one may also come from a server that lags behind, for example after a leader election: so the query
 * is repeated once, after a moment, before an older response is accepted.
 */
export async function* blockingQuery(agent: Agent, watched: WatchedPath, signal: AbortSignal): AsyncGenerator<Change> {
  let index = 0;
  let before: string | undefined;
  let freshAt = performance.now();
  while (!signal.aborted) {
    let response = await agent.request(requestAt(watched, index), signal);
    const isBehind = indexOf(response) < index;
    const isEmptied = before !== undefined && isEmpty(response.text) && !isEmpty(before);
    if (isBehind || (isEmptied && watched.impliesLoss !== true)) {
      await pause(isBehind ? BEHIND_REST_MS : EMPTIED_REST_MS, undefined, { signal });
      response = await agent.request(requestAt(watched, 0), signal);
    }
    if (!response.stale) freshAt = performance.now();
    if (response.stale && before !== undefined && performance.now() - freshAt < MAX_STALE_MS) {
      await pause(BEHIND_REST_MS, undefined, { signal });
      continue;
    }
    const next = indexOf(response);
    const rewound = next < index;
    if (rewound || response.text !== before) yield { ...response, rewound };
    before = response.text;
    index = rewound ? 0 : next;
    await pause(restMs(response), undefined, { signal });
  }
}

/** What to follow, by hash. */
export interface HashQuery {
  /** Below `/v1/`. */
  readonly path: string;
  /** Whether to yield each time it is missing, for callers that recreate it; only the first time when absent. */
  readonly repeatsMissing?: boolean;
}

/**
 * Follows a response of the agent by its content hash, as {@link blockingQuery} does by index. A missing thing is polled once a second
 * at most, since it has no hash.
 */
export async function* hashQuery(
  agent: Agent,
  { path, repeatsMissing = false }: HashQuery,
  signal: AbortSignal,
): AsyncGenerator<AgentResponse> {
  let hash: string | undefined;
  let before: AgentResponse | undefined;
  let missingRestMs = FIRST_MISSING_REST_MS;
  while (!signal.aborted) {
    const query = hash === undefined ? {} : { hash, wait: `${WAIT_MS / 1000}s` };
    const response = await agent.request(
      { path, query, mayBeMissing: true, holdMs: hash === undefined ? 0 : HOLD_MS },
      signal,
    );
    const hasChanged = before?.text !== response.text || before.found !== response.found;
    if (hasChanged || (repeatsMissing && !response.found)) yield response;
    before = response;
    hash = response.found ? response.hash : undefined;
    missingRestMs = response.found ? FIRST_MISSING_REST_MS : Math.min(missingRestMs * 2, LONGEST_MISSING_REST_MS);
    await pause(hash === undefined ? missingRestMs : MIN_REST_MS, undefined, { signal });
  }
}

/** A list or an object in which there is nothing. */
function isEmpty(text: string): boolean {
  return /^(?:\[\s*\]|\{\s*\}|null|)$/.test(text.trim());
}

function indexOf({ index = 0 }: AgentResponse): number {
  return Math.max(index, 1);
}

// Servers that lag behind catch up well within this time.
const BEHIND_REST_MS = 1_000;
// Should an agent say without reason that there is no leader, it must not be passed over for ever.
const MAX_STALE_MS = 60_000;
// All held queries are answered within some milliseconds when servers have lost their state, or a token its rights.
const EMPTIED_REST_MS = 250;
// A dead agent is noticed soon, and a dozen requests a minute are nothing to a healthy one.
const WAIT_MS = 30_000;
// The agent adds up to a sixteenth of the wait at random.
const HOLD_MS = (WAIT_MS * 17) / 16;
// A pending registration is found at once; a missing one costs a request a second.
const FIRST_MISSING_REST_MS = 50;
const LONGEST_MISSING_REST_MS = 1_000;
// Limits how often one query can be woken: writes to a table often come in bursts.
const MIN_REST_MS = 20;
// An agent produces some 70 MB of such responses per second and core, so one query takes less than half a core at worst: in a
// datacenter of thousands of services where something changes all the time.
const MAX_BYTES_PER_MS = 40_000;

function requestAt({ query = {}, body, path, without, mayBeMissing }: WatchedPath, index: number): AgentRequest {
  const request = {
    path,
    ...(without === undefined ? {} : { without }),
    ...(mayBeMissing === undefined ? {} : { mayBeMissing }),
    ...(body === undefined ? {} : ({ method: 'POST', body } as const)),
  };
  if (index === 0) return { ...request, query };
  return { ...request, query: { ...query, index: String(index), wait: `${WAIT_MS / 1000}s` }, holdMs: HOLD_MS };
}

/** The larger the response, the longer the pause: changes meanwhile come with the next response. */
function restMs({ bytes }: AgentResponse): number {
  return Math.max(MIN_REST_MS, bytes / MAX_BYTES_PER_MS);
}
