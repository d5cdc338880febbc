import type { Connecting } from './connecting.ts';
import type { Hello, Retry, Upstream } from './connection.ts';
import { Head } from './head.ts';
import type { Splice } from '../transport/transport.ts';

// The phases are classes: V8 predicts the lifetime of object literals, and allocates those it considers long-lived
// directly in the old generation (docs/adr/0023). Class instances are exempt.

/** Phase until the hello is complete. */
export class Opening {
  kind: 'filtering' | 'sniffing' = 'sniffing';
  /** Received bytes of the hello, after those that filters have consumed. */
  readonly received: Head = new Head();
}

/** Phase from the hello until a backend is connected. */
export class Reaching {
  readonly kind = 'connecting';
  readonly connecting: Connecting;

  constructor(connecting: Connecting) {
    this.connecting = connecting;
  }
}

/** Phase of the splice, which owns both ends. */
export class Splicing {
  readonly kind = 'splicing';
  readonly connecting: Connecting;
  readonly splice: Splice;
  /** Present if a retry may replace the backend. */
  readonly resend: Resend | undefined;

  constructor(connecting: Connecting, splice: Splice, resend: Resend | undefined) {
    this.connecting = connecting;
    this.splice = splice;
    this.resend = resend;
  }
}

/** The data of a retry on another backend. */
export interface Resend {
  readonly head: Uint8Array;
  readonly upstream: Upstream;
  readonly retry: Retry;
}

interface Closed {
  readonly kind: 'closed';
}

/** Phase of a session, with its data. */
export type SessionPhase = Opening | Reaching | Splicing | Closed;

/** Shared by all sessions. */
export const CLOSED: Closed = { kind: 'closed' };

/** Returns the connect state of a phase; `undefined` before the hello is complete and after the end. */
export function connectingOf(phase: SessionPhase): Connecting | undefined {
  return phase.kind === 'connecting' || phase.kind === 'splicing' ? phase.connecting : undefined;
}

/**
 * Returns the data for a retry. Early data excludes one: it is meant for a single server and may contain a request (RFC
 * 8446, section 8).
 */
export function resendOf({ earlyData }: Hello, upstream: Upstream, head: Uint8Array): Resend | undefined {
  const { retry } = upstream;
  return retry === undefined || earlyData === true ? undefined : { head, upstream, retry };
}
