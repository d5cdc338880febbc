import type { Rate } from '../routes/route.ts';
import type { ClientPrefix } from './client-key.ts';

/** What one proxy may spend. Every field is a setting; {@link DEFAULT_LIMITS} reasons about its default. */
export interface Limits {
  /** From accept to a complete hello, in milliseconds. Absolute: no byte extends it. */
  readonly helloTimeoutMs: number;
  /** Largest hello, in bytes. */
  readonly helloMaxBytes: number;
  /** From the first dial to an established connection, all attempts together, in milliseconds. A route may set its own. */
  readonly connectTimeoutMs: number;
  /** Dials for one connection, of all backends and addresses together: at least 1. */
  readonly dials: number;
  /** Longest silence of both sides, in milliseconds; `Infinity`: no limit. */
  readonly idleTimeoutMs: number;
  /** The same once one side has finished sending. */
  readonly halfCloseTimeoutMs: number;
  /** How long a connection may last from when its backend is reached, in milliseconds; up to a tenth less. No limit when absent. */
  readonly maxAgeMs?: number;
  /** Connections at a time, all listeners together. */
  readonly connections: number;
  /** Of these, how many hellos may be incomplete; when one more comes, the oldest of them is closed, first of the client that has most. */
  readonly pendingHellos: number;
  /** What one client may have; half of all connections, 256 at least, when absent. */
  readonly perClient?: PerClientLimits;
}

/** What one client may spend. */
export interface PerClientLimits {
  /** Connections at a time; half of all, 256 at least, when absent. */
  readonly connections?: number;
  /** New connections; more are refused. No limit when absent. */
  readonly rate?: Rate;
  /** Which addresses are one client; each IPv4 address, and each /64 of IPv6, when absent. */
  readonly prefix?: ClientPrefix;
}

/** Defaults that need no knowledge of the machine. */
export const DEFAULT_LIMITS: Limits = {
  // Browsers give up after 10 to 30 s; a client that needs longer for its first flight is stuck or hostile.
  helloTimeoutMs: 10_000,
  // The largest hello seen in the wild is about 17 KiB (padding, several post-quantum key shares); TLS allows 16 MiB.
  helloMaxBytes: 64 * 1024,
  // Consul's own default for a mesh gateway.
  connectTimeoutMs: 5_000,
  // Whoever is not reached by then is rarely reached at all; more would multiply a storm of clients when everything is down.
  dials: 5,
  // As in Envoy's TCP proxy, so that a migration does not cut what lived before.
  idleTimeoutMs: 3_600_000,
  // A response that takes longer than this to begin, or to go on, is rare; a peer that is gone without a word is not.
  halfCloseTimeoutMs: 300_000,
  connections: 10_000,
  pendingHellos: 1_000,
};
