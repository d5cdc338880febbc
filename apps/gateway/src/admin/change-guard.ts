import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { readRegularFile } from '@meshgate/core/parts';
import type { AdminSettings } from '../config/config-schema.ts';
import type { AdminResponse } from './endpoint.ts';

/**
 * Returns the response that rejects a changing request; `undefined` when the request is allowed.
 *
 * With a token file, every change requires its token as `Authorization: Bearer TOKEN` (RFC 6750, section 2.1). Without
 * one, loopback addresses and unix sockets (which the system protects) are open, and no other address allows changes.
 * Pages of other origins are always rejected: a browser sends an `Origin` (RFC 6454) that differs from `Host`.
 */
export async function changeRefusal(
  { endpoint, tokenFile }: AdminSettings,
  { origin, host, authorization }: IncomingHttpHeaders,
): Promise<AdminResponse | undefined> {
  if (origin !== undefined && hostOf(origin) !== host?.toLowerCase())
    return refusal(403, 'requests from web pages of another origin are refused');
  if (tokenFile === undefined) {
    if (!isBeyondThisMachine(endpoint.host)) return undefined;
    return refusal(403, 'changes from beyond loopback require a token: expected admin.tokenFile in the configuration');
  }
  const token = await tokenIn(tokenFile);
  if (token === undefined) return refusal(503, 'changes are refused: admin.tokenFile cannot be read or is empty');
  const presented = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
  if (presented !== undefined && isSame(presented, token)) return undefined;
  const found = authorization === undefined ? 'none' : 'another';
  return {
    ...refusal(401, `expected the token of admin.tokenFile as Authorization: Bearer TOKEN, found ${found}`),
    headers: { 'www-authenticate': 'Bearer realm="meshgate"' },
  };
}

/** Whether another machine may be able to connect to `host`. */
export function isBeyondThisMachine(host: string): boolean {
  return !host.startsWith('unix:') && !isLoopback(host);
}

/** Whether `host` is an IP address to which only this machine can connect. */
export function isLoopback(host: string): boolean {
  return host === '::1' || /^(?:::ffff:)?127\./i.test(host);
}

/** Reads the token at each change, so that a new token takes effect at once. */
async function tokenIn(file: string): Promise<string | undefined> {
  const token = (await readRegularFile(file).catch(() => '')).trim();
  return token === '' ? undefined : token;
}

/** Compares in constant time, which depends neither on the first difference nor on the lengths. */
function isSame(one: string, other: string): boolean {
  return timingSafeEqual(digest(one), digest(other));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}

function refusal(status: number, error: string): AdminResponse {
  return { status, json: { error } };
}
