import { formatTrace } from '@meshgate/core';
import type { ClosedConnection } from '@meshgate/core';

/**
 * Returns the trace of a connection: that of the TLS connection that a sidecar originates for its application, else of
 * the forwarded one.
 */
export function shownTrace({ hello, upstream }: Pick<ClosedConnection, 'hello' | 'upstream'>): {
  readonly trace?: string;
} {
  const trace = upstream?.trace ?? hello?.trace;
  return trace === undefined ? {} : { trace: formatTrace(trace) };
}
