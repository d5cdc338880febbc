import { errorOf, readRegularFile } from '@meshgate/core/parts';

/** The ACL token for the agent. With neither field set the agent uses its own default token, or the anonymous one. */
export interface TokenOptions {
  /** The secret itself, sent as `X-Consul-Token`, without spaces and line breaks around it. An empty one counts as absent. */
  readonly token?: string;
  /** A file with the token, reloaded while running: a rotated token needs no restart. Takes precedence over `token`. */
  readonly tokenFile?: string;
}

/**
 * Returns the current token.
 *
 * @returns a function that rejects, naming the file, when it cannot be read
 */
export function tokenReader({ token, tokenFile }: TokenOptions): () => Promise<string | undefined> {
  if (tokenFile === undefined) {
    const secret = token?.trim();
    return () => Promise.resolve(secret === '' ? undefined : secret);
  }
  let read: { readonly at: number; readonly secret: Promise<string> } | undefined;
  return async () => {
    const now = performance.now();
    if (read === undefined || now - read.at > REREAD_MS) read = { at: now, secret: readToken(tokenFile) };
    return read.secret;
  };
}

// Rarely enough for thousands of queries a second, often enough that a rotated token is used soon.
const REREAD_MS = 1_000;

/** @throws Error that names the file which cannot be read, or is empty */
export async function readToken(file: string): Promise<string> {
  const content = await readRegularFile(file).catch((reason: unknown) => {
    throw new Error(`the ACL token cannot be read from ${file}: ${errorOf(reason).message}`, { cause: reason });
  });
  const secret = content.trim();
  // Whoever rotates it may empty the file first. Without a token the agent would answer as to anybody, which is not what is meant.
  if (secret === '') throw new Error(`the ACL token cannot be read from ${file}: the file is empty`);
  if (!isToken(secret)) throw new Error(`the ACL token cannot be read from ${file}: ${TOKEN_FORM}`);
  return secret;
}

/** Whether `secret` can be sent in a header. */
export function isToken(secret: string): boolean {
  return /^[\x20-\x7e]*$/.test(secret.trim());
}

/** What {@link isToken} expects, for messages that do not show the secret. */
export const TOKEN_FORM = 'expected one line of printable ASCII, found other characters';
