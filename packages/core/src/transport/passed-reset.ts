import type { ProxyError, ProxyErrorCode } from '../errors.ts';

/** The side of the proxy that a connection is on. */
export type ConnectionEnd = 'downstream' | 'upstream';

/** Error code of a connection that its own peer reset. */
export const RESET_OF: Readonly<Record<ConnectionEnd, ProxyErrorCode>> = {
  downstream: 'DOWNSTREAM_RESET',
  upstream: 'UPSTREAM_RESET',
};

/** Whether a connection on `side`, closed for `reason`, must be reset because the other side was reset. */
export function isPassedOn(reason: ProxyError | undefined, side: ConnectionEnd): boolean {
  return reason?.code === RESET_OF[side === 'downstream' ? 'upstream' : 'downstream'];
}
