/** Why a request was refused. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The JSON of a response. Rejects with {@link Refused}, or with the browser's error when the gateway is unreachable. */
export async function get<Body>(path: string): Promise<Body> {
  return responseOf<Body>(await fetch(path));
}

/** The same for a request that changes something. */
export async function change(method: 'POST' | 'DELETE', path: string, token: string): Promise<void> {
  const headers: Record<string, string> = token === '' ? {} : { authorization: `Bearer ${token}` };
  await responseOf(await fetch(path, { method, headers }));
}

async function responseOf<Body>(response: Response): Promise<Body> {
  const text = await response.text();
  const body: unknown = text === '' ? {} : JSON.parse(text);
  if (response.ok) return body as Body;
  const { error } = Object(body) as { readonly error?: unknown };
  throw new Refused(response.status, typeof error === 'string' ? error : `status ${response.status}`);
}
