import { ConfigProblems, formatEndpoint } from '@meshgate/core';
import type { Command } from 'commander';
import { adminClient } from '../admin/client.ts';
import type { AdminAddress, AdminClient } from '../admin/client.ts';
import { describe } from '../config/config-messages.ts';
import { DEFAULT_ADMIN } from '../config/config-schema.ts';

/** Address and token of a running gateway's admin API. */
export interface AdminFlags {
  readonly admin?: string;
  readonly tokenFile?: string;
  readonly json?: boolean;
}

/** The default admin address. */
export const DEFAULT_ADMIN_URL: string = `http://${formatEndpoint(DEFAULT_ADMIN)}`;

/** Adds the flags of commands that change something. */
export function withAdminFlags(command: Command): Command {
  return withAdminFlag(command).option(
    '--token-file <file>',
    'file with the bearer token of the admin API (default: none is sent)',
  );
}

/** Adds the flag of read-only commands. */
export function withAdminFlag(command: Command): Command {
  return command.option('--admin <url>', `URL of the admin API, or unix:/path (default: ${DEFAULT_ADMIN_URL})`);
}

/** Creates a client by these flags. @throws ConfigProblems like {@link adminAddress} */
export function clientOf({ admin = DEFAULT_ADMIN_URL, tokenFile }: AdminFlags): AdminClient {
  return adminClient(adminAddress(admin), tokenFile);
}

/**
 * Parses the address of an admin API.
 *
 * @throws ConfigProblems when it is neither an HTTP URL (`localhost:19000` is a URL with the scheme `localhost`) nor a
 * unix socket
 */
export function adminAddress(text: string, flag = '--admin'): AdminAddress {
  if (/^unix:\/./.test(text)) return { socketPath: text.slice('unix:'.length) };
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
  const expected = `expected ${flag} to be a URL such as ${DEFAULT_ADMIN_URL}, or unix:/path, found ${describe(text)}`;
  const suggestion = /^\/./.test(text)
    ? `unix:${text}`
    : /^[\w.-]+:\d+$|^\[[\d:a-f]+\]:\d+$/i.test(text)
      ? `http://${text}`
      : undefined;
  const message = suggestion === undefined ? expected : `${expected}: did you mean ${suggestion}?`;
  throw new ConfigProblems([{ message, path: [] }]);
}
