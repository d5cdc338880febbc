import { formatTrace } from '@meshgate/core';
import type { ClosedConnection } from '@meshgate/core';

/** The trace of a connection as people and scripts see it: of the TLS that a sidecar has begun for its application, else of that which passes. */
export function shownTrace({ hello, upstream }: Pick<ClosedConnection, 'hello' | 'upstream'>): {
  readonly trace?: string;
} {
  const trace = upstream?.trace ?? hello?.trace;
  return trace === undefined ? {} : { trace: formatTrace(trace) };
}
