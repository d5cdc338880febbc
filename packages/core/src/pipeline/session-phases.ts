import type { Connecting } from './connecting.ts';
import type { Hello, Retry, Upstream } from './connection.ts';
import type { Splice } from '../transport/transport.ts';

// The phases are classes: V8 guesses the age of object literals, and makes those old at once that it takes for long-lived
// (docs/adr/0023). Instances are spared that.

/** Until the hello is complete. */
export class Opening {
  kind: 'filtering' | 'sniffing' = 'sniffing';
  /** Whether the client's connections include this one: not before its filters have run. */
  isCounted = true;
}

/** From the hello until a backend is reached. */
export class Reaching {
  readonly kind = 'connecting';
  readonly connecting: Connecting;

  constructor(connecting: Connecting) {
    this.connecting = connecting;
  }
}

/** Both ends belong to the splice. */
export class Splicing {
  readonly kind = 'splicing';
  readonly connecting: Connecting;
  readonly splice: Splice;
  /** Present where another backend may take the place of this one. */
  readonly resend: Resend | undefined;

  constructor(connecting: Connecting, splice: Splice, resend: Resend | undefined) {
    this.connecting = connecting;
    this.splice = splice;
    this.resend = resend;
  }
}

/** What another backend is reached with. */
export interface Resend {
  readonly head: Uint8Array;
  readonly upstream: Upstream;
  readonly retry: Retry;
}

interface Closed {
  readonly kind: 'closed';
}

/** Where a session is in its life, and what it has there. */
export type SessionPhase = Opening | Reaching | Splicing | Closed;

/** The same for all. */
export const CLOSED: Closed = { kind: 'closed' };

/** What is known of the way to a backend; `undefined` before the hello is complete, and afterwards. */
export function connectingOf(phase: SessionPhase): Connecting | undefined {
  return phase.kind === 'connecting' || phase.kind === 'splicing' ? phase.connecting : undefined;
}

/** Early data is for one server only: it may be a request (RFC 8446, section 8). */
export function resendOf({ earlyData }: Hello, upstream: Upstream, head: Uint8Array): Resend | undefined {
  const { retry } = upstream;
  return retry === undefined || earlyData === true ? undefined : { head, upstream, retry };
}
