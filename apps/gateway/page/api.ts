/** Why a request was refused. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The JSON of an answer. Rejects with {@link Refused}, or the browser's error when nobody answers. */
export async function get<Answer>(path: string): Promise<Answer> {
  return answerOf<Answer>(await fetch(path));
}

/** The same for a request that changes something. */
export async function change(method: 'POST' | 'DELETE', path: string, token: string): Promise<void> {
  const headers: Record<string, string> = token === '' ? {} : { authorization: `Bearer ${token}` };
  await answerOf(await fetch(path, { method, headers }));
}

async function answerOf<Answer>(response: Response): Promise<Answer> {
  const text = await response.text();
  const body: unknown = text === '' ? {} : JSON.parse(text);
  if (response.ok) return body as Answer;
  const { error } = Object(body) as { readonly error?: unknown };
  throw new Refused(response.status, typeof error === 'string' ? error : `status ${response.status}`);
}
