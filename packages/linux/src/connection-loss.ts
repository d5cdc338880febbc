import { ProxyError, unixPath } from '@meshgate/core';
import type { Endpoint, ProxyErrorCode } from '@meshgate/core';
import { errorName, systemError } from './system-error.ts';

/** The side of the proxy on which a connection stands. */
export type End = 'downstream' | 'upstream';

const RESET_OF: Readonly<Record<End, ProxyErrorCode>> = { downstream: 'DOWNSTREAM_RESET', upstream: 'UPSTREAM_RESET' };
const RESET_OF_THE_OTHER: typeof RESET_OF = { downstream: 'UPSTREAM_RESET', upstream: 'DOWNSTREAM_RESET' };

/** The connection of that side was lost with `errno`. */
export function lostBy(errno: number, side: End): ProxyError {
  const cause = systemError(errno, side);
  return new ProxyError(RESET_OF[side], `${side} connection lost: ${errorName(errno)}`, { cause });
}

/** Whether what is closed for `reason` is to be reset: what the other side did, its peer sees too. Only TCP knows a reset. */
export function isPassedOn(reason: ProxyError | undefined, side: End, remote: Endpoint): boolean {
  return reason?.code === RESET_OF_THE_OTHER[side] && unixPath(remote) === undefined;
}
