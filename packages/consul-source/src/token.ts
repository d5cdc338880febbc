import { readFile } from 'node:fs/promises';

/** The ACL token to show to the agent. With neither field set the agent takes its own default token, or the anonymous one. */
export interface TokenOptions {
  /** The secret itself, sent as `X-Consul-Token`. An empty one counts as absent. */
  readonly token?: string;
  /** A file that holds the token, read again while running: a rotated token needs no restart. Beats `token`. */
  readonly tokenFile?: string;
}

/**
 * Gives the token of the moment.
 *
 * @returns a function that rejects, naming the file, when it cannot be read
 */
export function tokenReader({ token, tokenFile }: TokenOptions): () => Promise<string | undefined> {
  if (tokenFile === undefined) return () => Promise.resolve(token === '' ? undefined : token);
  let read: { readonly at: number; readonly secret: Promise<string> } | undefined;
  return async () => {
    const now = performance.now();
    if (read === undefined || now - read.at > REREAD_MS) read = { at: now, secret: secretIn(tokenFile) };
    return read.secret;
  };
}

// Seldom enough for thousands of queries a second, often enough that nobody waits for a rotated token.
const REREAD_MS = 1_000;

async function secretIn(file: string): Promise<string> {
  const content = await readFile(file, 'utf8').catch((reason: unknown) => {
    const why = reason instanceof Error ? reason.message : String(reason);
    throw new Error(`the ACL token cannot be read from ${file}: ${why}`, { cause: reason });
  });
  return content.trim();
}
