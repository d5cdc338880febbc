import { setTimeout as pause } from 'node:timers/promises';
import type { Agent, AgentResponse, AgentRequest } from './agent.ts';

/** An endpoint to follow by blocking queries. */
export interface WatchedPath {
  /** Below `/v1/`. */
  readonly path: string;
  /** Parameters of the URL, not yet encoded; `index` and `wait` are added. */
  readonly query?: Readonly<Record<string, string>>;
  /** Request body, sent by POST; GET when absent. */
  readonly body?: object;
  /** Free-text fields to drop: a change in these alone is ignored. */
  readonly without?: readonly string[];
  /** Accepts a 404 as a response: the object does not exist at the moment. */
  readonly mayBeMissing?: boolean;
  /** An empty response is itself a sign of state loss: it is yielded at once, without a second query. */
  readonly impliesLoss?: boolean;
}

/** A response that differs from the previous one. */
export interface Change extends AgentResponse {
  /** The index went backwards: the servers restored or lost their state. */
  readonly rewound: boolean;
}

/**
 * Follows a response by its index: yields the first response, then each one with another content. Ends when `signal`
 * aborts; throws the agent's errors.
 *
 * A blocking query may return without a change, even with a new index: an index covers whole tables, goes backwards
 * when servers are restored, and is never sent below 1, since 0 would return at once.
 *
 * A response with a lower index may come from a server that lags behind, for example after a leader election: before it
 * is accepted, the query is repeated once after a pause. So is a query whose response has become empty.
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

/** An endpoint to follow by hash. */
export interface HashQuery {
  /** Below `/v1/`. */
  readonly path: string;
  /**
   * Whether to yield at every poll while the object is missing, for callers that recreate it; only once when absent.
   */
  readonly repeatsMissing?: boolean;
}

/**
 * Follows a response by its content hash, as {@link blockingQuery} does by index. A missing object has no hash: it is
 * polled, at most once a second once the back-off has grown.
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

/** Whether the body is an empty list, an empty object, `null`, or nothing. */
function isEmpty(text: string): boolean {
  return /^(?:\[\s*\]|\{\s*\}|null|)$/.test(text.trim());
}

function indexOf({ index = 0 }: AgentResponse): number {
  return Math.max(index, 1);
}

// Time in which a lagging server catches up.
const BEHIND_REST_MS = 1_000;
// Limit for skipping stale responses, in case an agent reports a missing leader by mistake.
const MAX_STALE_MS = 60_000;
// When servers have lost their state, or a token its permissions, all held queries return within milliseconds.
const EMPTIED_REST_MS = 250;
// Short enough to notice a dead agent, long enough to cost a healthy one only a few requests a minute.
const WAIT_MS = 30_000;
// The agent adds up to a sixteenth of the wait at random.
const HOLD_MS = (WAIT_MS * 17) / 16;
// Finds a pending registration at once; a missing one costs one request per second.
const FIRST_MISSING_REST_MS = 50;
const LONGEST_MISSING_REST_MS = 1_000;
// Limits the rate of one query: writes to a table often come in bursts.
const MIN_REST_MS = 20;
// An agent produces about 70 MB of such responses per second and core, so that one query takes less than half a core at
// worst: in a datacenter with thousands of services and constant changes.
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

/** Returns a pause in proportion to the response; the next response contains the changes made meanwhile. */
function restMs({ bytes }: AgentResponse): number {
  return Math.max(MIN_REST_MS, bytes / MAX_BYTES_PER_MS);
}
