import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { readRegularFile } from '@meshgate/core/parts';
import type { AdminSettings } from '../config/config-schema.ts';
import type { AdminAnswer } from './endpoint.ts';

/**
 * Why a request that would change something is refused; `undefined` when it is not.
 *
 * With a token file every change takes the token in it, as `Authorization: Bearer TOKEN` (RFC 6750, section 2.1). Without one loopback
 * and unix sockets, which the system guards, are open, and any other address allows no change. Pages of other origins never may: a
 * browser sends their requests with an `Origin` (RFC 6454) that is not the `Host` asked.
 */
export async function changeRefusal(
  { endpoint, tokenFile }: AdminSettings,
  { origin, host, authorization }: IncomingHttpHeaders,
): Promise<AdminAnswer | undefined> {
  if (origin !== undefined && hostOf(origin) !== host?.toLowerCase())
    return refusal(403, 'requests from web pages of another origin are refused');
  if (tokenFile === undefined) {
    if (!isBeyondThisMachine(endpoint.host)) return undefined;
    return refusal(403, 'changes beyond loopback take a token: expected admin.tokenFile in the configuration');
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

/** Whether somebody on another machine may be able to connect. */
export function isBeyondThisMachine(host: string): boolean {
  return !host.startsWith('unix:') && !isLoopback(host);
}

/** Whether only this machine can connect, by an IP address. */
export function isLoopback(host: string): boolean {
  return host === '::1' || /^(?:::ffff:)?127\./i.test(host);
}

/** Read at each change, so that a new token holds at once. */
async function tokenIn(file: string): Promise<string | undefined> {
  const token = (await readRegularFile(file).catch(() => '')).trim();
  return token === '' ? undefined : token;
}

/** In a time that does not depend on where they differ, nor on their lengths. */
function isSame(one: string, other: string): boolean {
  return timingSafeEqual(digest(one), digest(other));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}

function refusal(status: number, error: string): AdminAnswer {
  return { status, json: { error } };
}
