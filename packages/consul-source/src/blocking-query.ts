import { setTimeout as pause } from 'node:timers/promises';
import type { Agent, AgentResponse, AgentRequest } from './agent.ts';

/** Something to follow. */
export interface WatchedPath {
  /** Below `/v1/`. */
  readonly path: string;
  /** Parameters of the URL, not yet encoded; `index` and `wait` are added. */
  readonly query?: Readonly<Record<string, string>>;
  /** Asked by POST when there is one. */
  readonly body?: object;
  /** Fields of free text to leave out: a change of these alone is none. */
  readonly without?: readonly string[];
  /** A 404 is an answer: the thing does not exist at the moment. */
  readonly mayBeMissing?: boolean;
  /** An answer in which nothing is left is a sign of a loss by itself: it is told at once. */
  readonly tellsOfLoss?: boolean;
}

/** An answer that differs from the one before. */
export interface Change extends AgentResponse {
  /** The index has gone backwards: the servers' state was restored or lost. */
  readonly rewound: boolean;
}

/**
 * Follows an answer of the agent by its index: yields it when first known, then at each change of its text. Ends when `signal`
 * aborts; throws what the agent throws.
 *
 * A return of a blocking query is not a change, and an index is no measure of one: indexes cover whole tables, go backwards when
 * servers are restored, and are never sent below 1, since 0 would make the query return at once.
 *
 * An answer in which nothing is left is asked for once more, after a moment, before it is believed: what else speaks for a loss comes
 * meanwhile, see `LossDetector`.
 *
 * A server without a leader cannot know anything newer than what is known: its answers are passed over, for a minute, but for the first one.
 *
 * An index that is lower than the one before may also be that of a server which has fallen behind, as after a change of leader: so it
 * is asked once more, after a moment, before an older answer is believed.
 */
export async function* blockingQuery(agent: Agent, watched: WatchedPath, signal: AbortSignal): AsyncGenerator<Change> {
  let index = 0;
  let before: string | undefined;
  let freshAt = performance.now();
  while (!signal.aborted) {
    let answer = await agent.request(requestAt(watched, index), signal);
    const isBehind = indexOf(answer) < index;
    const isEmptied = before !== undefined && isEmpty(answer.text) && !isEmpty(before);
    if (isBehind || (isEmptied && watched.tellsOfLoss !== true)) {
      await pause(isBehind ? BEHIND_REST_MS : EMPTIED_REST_MS, undefined, { signal });
      answer = await agent.request(requestAt(watched, 0), signal);
    }
    if (!answer.stale) freshAt = performance.now();
    if (answer.stale && before !== undefined && performance.now() - freshAt < MAX_STALE_MS) {
      await pause(BEHIND_REST_MS, undefined, { signal });
      continue;
    }
    const next = indexOf(answer);
    const rewound = next < index;
    if (rewound || answer.text !== before) yield { ...answer, rewound };
    before = answer.text;
    index = rewound ? 0 : next;
    await pause(restMs(answer), undefined, { signal });
  }
}

/** Something to follow by its hash. */
export interface HashQuery {
  /** Below `/v1/`. */
  readonly path: string;
  /** Whether it is yielded each time it is missing, for those who make it anew; only the first time when absent. */
  readonly repeatsMissing?: boolean;
}

/**
 * Follows an answer of the agent by the hash of its content, as {@link blockingQuery} does by index. A missing thing is asked
 * for again, after a second at most, since there is no hash of what does not exist.
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
    const answer = await agent.request(
      { path, query, mayBeMissing: true, holdMs: hash === undefined ? 0 : HOLD_MS },
      signal,
    );
    const hasChanged = before?.text !== answer.text || before.found !== answer.found;
    if (hasChanged || (repeatsMissing && !answer.found)) yield answer;
    before = answer;
    hash = answer.found ? answer.hash : undefined;
    missingRestMs = answer.found ? FIRST_MISSING_REST_MS : Math.min(missingRestMs * 2, LONGEST_MISSING_REST_MS);
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

// Servers that have fallen behind have what they lack well within this time.
const BEHIND_REST_MS = 1_000;
// Should an agent say without reason that there is no leader, it must not be passed over for ever.
const MAX_STALE_MS = 60_000;
// All held queries are answered within some milliseconds when servers have lost their state, or a token its rights.
const EMPTIED_REST_MS = 250;
// A silent agent is noticed soon after, and a dozen questions a minute are nothing to a healthy one.
const WAIT_MS = 30_000;
// The agent adds up to a sixteenth of the wait at random.
const HOLD_MS = (WAIT_MS * 17) / 16;
// What is about to be registered is found at once; what stays away costs a question a second.
const FIRST_MISSING_REST_MS = 50;
const LONGEST_MISSING_REST_MS = 1_000;
// Bounds how often one query can be woken: writes to a table often come in bursts.
const MIN_REST_MS = 20;
// An agent makes some 70 MB of such answers a second and core, so that one query takes less than half a core at the worst: in a
// datacenter of thousands of services in which something changes all the time.
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

/** The larger the answer, the longer the rest: what changes meanwhile comes with the next answer. */
function restMs({ bytes }: AgentResponse): number {
  return Math.max(MIN_REST_MS, bytes / MAX_BYTES_PER_MS);
}
