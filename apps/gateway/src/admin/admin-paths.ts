/** What of a request an answer depends on. */
interface AdminRequest {
  readonly query: URLSearchParams;
  /** The header `Accept`. */
  readonly accept: string | undefined;
}

/** An answer: JSON, whose members may be any iterable, or a text of a type of its own. */
export type AdminAnswer =
  | { readonly status: number; readonly json: object }
  | { readonly status: number; readonly contentType: string; readonly text: string };

/** Methods by path; a `GET` answers a `HEAD` as well. */
export type AdminPaths = Readonly<Record<string, Partial<Readonly<Record<'GET' | 'POST', Answerer>>>>>;

type Answerer = (request: AdminRequest) => AdminAnswer | Promise<AdminAnswer>;
