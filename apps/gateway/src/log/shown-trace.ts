import { formatTrace } from '@meshgate/core';
import type { ClosedConnection } from '@meshgate/core';

/**
 * The trace of a connection for people and scripts: of the TLS connection that a sidecar originated for its
 * application, else of the one it forwards.
 */
export function shownTrace({ hello, upstream }: Pick<ClosedConnection, 'hello' | 'upstream'>): {
  readonly trace?: string;
} {
  const trace = upstream?.trace ?? hello?.trace;
  return trace === undefined ? {} : { trace: formatTrace(trace) };
}
