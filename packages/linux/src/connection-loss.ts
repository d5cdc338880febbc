import { ProxyError } from '@meshgate/core';
import type { ProxyErrorCode } from '@meshgate/core';
import type { StreamSocket } from './stream-socket.ts';
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

/**
 * Closes the connection of that side: what the other side did, its peer sees too. On a unix socket, which knows no reset, the peer sees the
 * end of the stream.
 */
export function closePassingOn(socket: StreamSocket, side: End, reason: ProxyError | undefined): void {
  if (reason?.code === RESET_OF_THE_OTHER[side]) socket.reset();
  else socket.close();
}
