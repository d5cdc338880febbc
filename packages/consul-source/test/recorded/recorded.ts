import { readFileSync } from 'node:fs';

/** One response of a real agent. */
export interface RecordedResponse {
  readonly cluster: 'alpha' | 'beta';
  /** Path below `/v1/`, with the query. */
  readonly path: string;
  readonly status: number;
  /** JSON, or the raw text of a response that is not JSON. */
  readonly body: unknown;
}

/**
 * Responses of two peered clusters of Consul 1.16.4: `alpha` exports `db` (tcp, two sidecars), `api` (http) and `cache`
 * (no Connect); `beta` imports them, and its `web` has the upstream `db` of peer `alpha`. Recorded on 2026-11-28; the
 * clusters no longer exist.
 */
const RECORDED = JSON.parse(readFileSync(new URL('consul-1.16.4.json', import.meta.url), 'utf8')) as Readonly<
  Record<string, RecordedResponse>
>;

/** The response whose name begins with `number`. */
export function recorded(number: number): RecordedResponse {
  const found = Object.entries(RECORDED).find(([name]) => name.startsWith(`${String(number).padStart(2, '0')}-`));
  if (found === undefined) throw new Error(`expected a recorded answer ${number}, found none`);
  return found[1];
}

/** For a stand-in agent: the recorded responses by path and query; the entry `mesh` also as the list of its kind. */
export function responsesOf(...numbers: readonly number[]): Readonly<Record<string, unknown>> {
  const responses = numbers.map(recorded);
  const lists = responses.filter(({ path }) => path === 'config/mesh/mesh').map(({ body }) => ['config/mesh', [body]]);
  return Object.fromEntries([...responses.map(({ path, body }) => [path, body]), ...lists]);
}

/** Trust domain of `alpha`. */
export const ALPHA = '41013628-63fa-4ded-c508-2b8907680632.consul';
/** Trust domain of `beta`. */
export const BETA = '870a5160-cf8d-7564-222b-99fe1388fe98.consul';
