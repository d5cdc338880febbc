import type { SchemaName } from './response-schemas.ts';

/** The parts of a request that a response depends on. */
export interface AdminRequest {
  readonly query: URLSearchParams;
  /** The path segments that `{name}` matched, decoded. */
  readonly parameters: Readonly<Record<string, string>>;
  /** The `Accept` header. */
  readonly accept: string | undefined;
  /** Aborts when the client disconnects or the server stops. */
  readonly signal: AbortSignal;
}

/** A response: JSON, whose members may be any iterable, or text of another type, whole or streamed. */
export type AdminResponse = {
  readonly status: number;
  /** In addition to the headers of every response. */
  readonly headers?: Readonly<Record<string, string>>;
} & (
  | { readonly json: object }
  | { readonly contentType: string; readonly text: string }
  | { readonly contentType: string; readonly stream: AsyncIterable<string> }
);

/** Any method but `GET` changes something and is access-controlled. */
export type AdminMethod = 'GET' | 'POST' | 'PUT' | 'DELETE';

/** One path and method of the admin API: its handler, and its description in the OpenAPI document. */
export interface AdminEndpoint {
  /** A `GET` endpoint also serves `HEAD`. */
  readonly method: AdminMethod;
  /** `{name}` matches one segment: `/connections/{id}`. */
  readonly path: string;
  /** One sentence without a full stop. */
  readonly summary: string;
  /** The query parameters, each with a description. */
  readonly query?: readonly QueryParameter[];
  /** By status. Responses that every endpoint may give (refusals, failures) are not listed. */
  readonly responses: Readonly<Record<number, ResponseForm>>;
  respond(this: void, request: AdminRequest): AdminResponse | Promise<AdminResponse>;
}

/** Name of a query parameter. */
interface QueryParameter {
  readonly name: string;
  readonly description: string;
  /** `false` when absent. */
  readonly required?: boolean;
}

/** The form of a response: JSON of a named schema, or text of a type. */
export type ResponseForm = { readonly description: string } & (
  { readonly schema: SchemaName } | { readonly contentType: string }
);
