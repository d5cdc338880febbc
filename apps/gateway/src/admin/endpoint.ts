import type { SchemaName } from './response-schemas.ts';

/** The parts of a request that a response depends on. */
export interface AdminRequest {
  readonly query: URLSearchParams;
  /** Decoded path segments that `{name}` matched. */
  readonly parameters: Readonly<Record<string, string>>;
  /** Value of the `Accept` header. */
  readonly accept: string | undefined;
  /** Aborts when the client disconnects or the server stops. */
  readonly signal: AbortSignal;
}

/** A response: JSON, whose members may be iterables, or text of another type, complete or streamed. */
export type AdminResponse = {
  readonly status: number;
  /** Headers besides those of every response. */
  readonly headers?: Readonly<Record<string, string>>;
} & (
  | { readonly json: object }
  | { readonly contentType: string; readonly text: string }
  | { readonly contentType: string; readonly stream: AsyncIterable<string> }
);

/** Methods. All except `GET` change something and are subject to access control. */
export type AdminMethod = 'GET' | 'POST' | 'PUT' | 'DELETE';

/** One path and method of the admin API, with its handler and its description in the OpenAPI document. */
export interface AdminEndpoint {
  /** A `GET` endpoint also handles `HEAD`. */
  readonly method: AdminMethod;
  /** `{name}` matches one segment: `/connections/{id}`. */
  readonly path: string;
  /** Summary: one sentence without a full stop. */
  readonly summary: string;
  /** The query parameters, with descriptions. */
  readonly query?: readonly QueryParameter[];
  /** Responses by status, except for those that every endpoint may return (rejections, failures). */
  readonly responses: Readonly<Record<number, ResponseForm>>;
  respond(this: void, request: AdminRequest): AdminResponse | Promise<AdminResponse>;
}

/** A query parameter. */
interface QueryParameter {
  readonly name: string;
  readonly description: string;
  /** `false` when absent. */
  readonly required?: boolean;
}

/** The format of a response: JSON of a named schema, or text of a content type. */
export type ResponseForm = { readonly description: string } & (
  { readonly schema: SchemaName } | { readonly contentType: string }
);

/** The content type of a JSON response. */
export const JSON_TYPE = 'application/json; charset=utf-8';
