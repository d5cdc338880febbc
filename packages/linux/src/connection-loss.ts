import { ProxyError } from '@meshgate/core';
import { isPassedOn, RESET_OF } from '@meshgate/core/parts';
import type { ConnectionEnd } from '@meshgate/core/parts';
import type { StreamSocket } from './stream-socket.ts';
import { errorName, systemError } from './system-error.ts';

/** Returns the error of a connection on `side` that was lost with `errno`. */
export function lostBy(errno: number, side: ConnectionEnd): ProxyError {
  const cause = systemError(errno, side);
  return new ProxyError(RESET_OF[side], `${side} connection lost: ${errorName(errno)}`, { cause });
}

/**
 * Closes the connection on `side` in the same way as the other side was closed: with a reset if that was reset. On a
 * unix socket, which has no reset, the peer sees the end of the stream.
 */
export function closePassingOn(socket: StreamSocket, side: ConnectionEnd, reason: ProxyError | undefined): void {
  if (isPassedOn(reason, side)) socket.reset();
  else socket.close();
}
