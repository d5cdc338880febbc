import type { SchemaName } from './answer-schemas.ts';

/** What of a request an answer depends on. */
export interface AdminRequest {
  readonly query: URLSearchParams;
  /** The segments of the path for which `{name}` stands, decoded. */
  readonly parameters: Readonly<Record<string, string>>;
  /** The header `Accept`. */
  readonly accept: string | undefined;
  /** Aborts when the client has gone or the server stops. */
  readonly signal: AbortSignal;
}

/** An answer: JSON, whose members may be any iterable, or text of a type of its own, whole or bit by bit. */
export type AdminAnswer = {
  readonly status: number;
  /** Beside those of every answer. */
  readonly headers?: Readonly<Record<string, string>>;
} & (
  | { readonly json: object }
  | { readonly contentType: string; readonly text: string }
  | { readonly contentType: string; readonly stream: AsyncIterable<string> }
);

/** Anything but `GET` changes something, and is guarded. */
export type AdminMethod = 'GET' | 'POST' | 'PUT' | 'DELETE';

/** One path and method of the admin API: how it is answered, and what the OpenAPI document says of it. */
export interface AdminEndpoint {
  /** A `GET` answers `HEAD` as well. */
  readonly method: AdminMethod;
  /** `{name}` stands for one segment: `/connections/{id}`. */
  readonly path: string;
  /** One sentence without a full stop. */
  readonly summary: string;
  /** What the query may name, each with a description. */
  readonly query?: readonly QueryParameter[];
  /** By status. What every endpoint may answer (refusals, failures) is not listed. */
  readonly answers: Readonly<Record<number, AnswerForm>>;
  answer(this: void, request: AdminRequest): AdminAnswer | Promise<AdminAnswer>;
}

/** A name in a query. */
interface QueryParameter {
  readonly name: string;
  readonly description: string;
  /** `false` when absent. */
  readonly required?: boolean;
}

/** What an answer looks like: JSON of a named schema, or text of a type. */
export type AnswerForm = { readonly description: string } & (
  { readonly schema: SchemaName } | { readonly contentType: string }
);
