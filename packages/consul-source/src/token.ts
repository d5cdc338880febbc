import { errorOf, readRegularFile } from '@meshgate/core/parts';

/**
 * The ACL token for the agent. When neither field is set, the agent uses its own default token, or the anonymous one.
 */
export interface TokenOptions {
  /** The secret, sent as `X-Consul-Token` without surrounding white space. An empty one counts as absent. */
  readonly token?: string;
  /**
   * A file with the token, reloaded at run time, so that a rotated token needs no restart. Takes precedence over
   * `token`.
   */
  readonly tokenFile?: string;
}

/** Returns a function for the current token. It rejects, naming the file, when the file cannot be read. */
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

// Cheap even at thousands of queries per second, and soon enough for a rotated token.
const REREAD_MS = 1_000;

/** Reads a token. @throws Error naming the file when it is unreadable or empty, or when its contents are not a token */
export async function readToken(file: string): Promise<string> {
  const content = await readRegularFile(file).catch((reason: unknown) => {
    throw new Error(`the ACL token cannot be read from ${file}: ${errorOf(reason).message}`, { cause: reason });
  });
  const secret = content.trim();
  // A rotation may empty the file first. Without a token the agent would answer as it does for anonymous clients.
  if (secret === '') throw new Error(`the ACL token cannot be read from ${file}: the file is empty`);
  if (!isToken(secret)) throw new Error(`the ACL token cannot be read from ${file}: ${TOKEN_FORM}`);
  return secret;
}

/** Whether `secret` can be sent in an HTTP header. */
export function isToken(secret: string): boolean {
  return /^[\x20-\x7e]*$/.test(secret.trim());
}

/** The format that {@link isToken} expects, for messages that do not show the secret. */
export const TOKEN_FORM = 'expected one line of printable ASCII, found other characters';
