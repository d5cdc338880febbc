import { pause } from '@meshgate/core';
import { defined } from '@meshgate/core/parts';
import { aborted } from '@meshgate/core/parts';
import { isCut, parsed } from './agent.ts';
import type { Agent, AgentError, AgentResponse, AgentRequest, ResponseFormat } from './agent.ts';

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
  /** Yields every response, even without a change. */
  readonly repeats?: boolean;
  /**
   * How long the query may block, in milliseconds; 30 s when absent. With 0 it is polled, as an endpoint that does not
   * block.
   */
  readonly waitMs?: number;
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
 *
 * An endpoint that responds at once and without an index does not block: it is polled every few seconds.
 */
export async function* blockingQuery(agent: Agent, watched: WatchedPath, signal: AbortSignal): AsyncGenerator<Change> {
  let index = 0;
  let before: string | undefined;
  let freshAt = performance.now();
  const hold = new QueryHold(watched.waitMs);
  while (!signal.aborted) {
    const unheld = requestFor(watched);
    const isHeld = index > 0 && watched.waitMs !== 0;
    let response = await hold.respond(agent, unheld, isHeld ? { index: String(index) } : undefined, signal);
    const isBehind = indexOf(response) < index;
    const isEmptied = before !== undefined && isEmpty(response.text) && !isEmpty(before);
    if (isBehind || (isEmptied && watched.impliesLoss !== true)) {
      await pause(isBehind ? BEHIND_REST_MS : EMPTIED_REST_MS, signal);
      response = await agent.request(unheld, signal);
    }
    if (!response.stale) freshAt = performance.now();
    if (response.stale && before !== undefined && performance.now() - freshAt < MAX_STALE_MS) {
      await pause(BEHIND_REST_MS, signal);
      continue;
    }
    const next = indexOf(response);
    const rewound = next < index;
    if (rewound || watched.repeats === true || response.text !== before) yield { ...response, rewound };
    before = response.text;
    index = rewound ? 0 : next;
    const isPolled = watched.waitMs === 0 || (isHeld && response.index === undefined);
    await pause(isPolled ? POLL_MS : restMs(response), signal);
  }
}

/** Follows the parsed responses of {@link blockingQuery}. @throws AgentError also when the format is unexpected */
export async function* parsedResponses<T>(
  agent: Agent,
  watched: WatchedPath & ResponseFormat<T>,
  signal: AbortSignal,
): AsyncGenerator<T> {
  for await (const response of blockingQuery(agent, watched, signal)) yield parsed(response, watched);
}

/** Follows `values`, and `substitute` once they end with an error that `isExpected` accepts. */
export async function* orElse<T>(
  values: AsyncIterable<T>,
  isExpected: (reason: unknown) => reason is AgentError,
  substitute: (reason: AgentError) => AsyncIterable<T>,
): AsyncGenerator<T> {
  try {
    yield* values;
  } catch (reason) {
    if (!isExpected(reason)) throw reason;
    yield* substitute(reason);
  }
}

/** Yields one value, and ends after `forMs` milliseconds; when absent, once `signal` aborts. */
export async function* constant<T>(value: T, signal: AbortSignal, forMs?: number): AsyncGenerator<T> {
  yield value;
  await (forMs === undefined ? aborted(signal) : pause(forMs, signal));
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
  const hold = new QueryHold();
  while (!signal.aborted) {
    const held = hash === undefined ? undefined : { hash };
    const response = await hold.respond(agent, { path, mayBeMissing: true }, held, signal);
    const hasChanged = before?.text !== response.text || before.found !== response.found;
    if (hasChanged || (repeatsMissing && !response.found)) yield response;
    before = response;
    hash = response.found ? response.hash : undefined;
    missingRestMs = response.found ? FIRST_MISSING_REST_MS : Math.min(missingRestMs * 2, LONGEST_MISSING_REST_MS);
    await pause(hash === undefined ? missingRestMs : MIN_REST_MS, signal);
  }
}

/**
 * Controls how long a query blocks. A query that a proxy with a shorter timeout has ended is no sign of the agent's
 * health: it is repeated at once without blocking, and later queries block for less time.
 */
class QueryHold {
  #waitMs: number;

  constructor(waitMs = WAIT_MS) {
    this.#waitMs = waitMs;
  }

  /** Sends a request. @param held parameters of a blocking query; absent for one that does not block */
  async respond(
    agent: Agent,
    request: AgentRequest,
    held: Readonly<Record<string, string>> | undefined,
    signal: AbortSignal,
  ): Promise<AgentResponse> {
    if (held === undefined) return agent.request(request, signal);
    const wait = this.#waitMs % 1_000 === 0 ? `${this.#waitMs / 1_000}s` : `${this.#waitMs}ms`;
    const query = { ...request.query, ...held, wait };
    const sentAt = performance.now();
    try {
      // The agent adds up to a sixteenth of the wait at random.
      return await agent.request({ ...request, query, holdMs: (this.#waitMs * 17) / 16 }, signal);
    } catch (reason) {
      const heldMs = performance.now() - sentAt;
      if (heldMs < SHORTEST_WAIT_MS || !isCut(reason)) throw reason;
      this.#waitMs = Math.max(SHORTEST_WAIT_MS, Math.trunc(heldMs * UNCUT_SHARE));
      return agent.request(request, signal);
    }
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
// A query that ends sooner did not run into a timeout. Also limits the rate of queries behind a proxy.
const SHORTEST_WAIT_MS = 1_000;
// Share of the time after which the proxy ended the query. Leaves room for the sixteenth that the agent adds.
const UNCUT_SHARE = 0.8;
// Interval for endpoints without blocking queries.
const POLL_MS = 5_000;
// Finds a pending registration at once; a missing one costs one request per second.
const FIRST_MISSING_REST_MS = 50;
const LONGEST_MISSING_REST_MS = 1_000;
// Limits the rate of one query: writes to a table often come in bursts.
const MIN_REST_MS = 20;
// An agent produces about 70 MB of such responses per second and core, so that one query takes less than half a core at
// worst: in a datacenter with thousands of services and constant changes.
const MAX_BYTES_PER_MS = 40_000;

function requestFor({ query = {}, body, path, without, mayBeMissing }: WatchedPath): AgentRequest {
  return {
    path,
    query,
    ...defined({ without, mayBeMissing }),
    ...(body === undefined ? {} : ({ method: 'POST', body } as const)),
  };
}

/** Returns a pause in proportion to the response; the next response contains the changes made meanwhile. */
function restMs({ bytes }: AgentResponse): number {
  return Math.max(MIN_REST_MS, bytes / MAX_BYTES_PER_MS);
}

/**
 * Pause before a response older than the previous one is used, in milliseconds: the state loss guard must see the
 * inventory first, which shows the loss.
 */
export const REWOUND_REST_MS = 1_000;
