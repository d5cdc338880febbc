import type { Rate } from '../routes/route.ts';
import type { ClientPrefix } from './client-key.ts';

/** Resource limits of a proxy. Every field is a setting; {@link DEFAULT_LIMITS} explains the defaults. */
export interface Limits {
  /** Time from accept to a complete hello, in milliseconds. Absolute: received bytes do not extend it. */
  readonly helloTimeoutMs: number;
  /** Maximum size of a hello, in bytes. */
  readonly helloMaxBytes: number;
  /**
   * Time from the first dial to an established connection, for all attempts, in milliseconds. A route may override it.
   */
  readonly connectTimeoutMs: number;
  /** Maximum number of dials per connection, over all backends and addresses: 1 or more. */
  readonly dials: number;
  /** Maximum time without a byte from either side, in milliseconds; `Infinity`: no limit. */
  readonly idleTimeoutMs: number;
  /** The same once one side has finished sending. */
  readonly halfCloseTimeoutMs: number;
  /**
   * Maximum age of a connection, counted from the connect to its backend, in milliseconds, shortened by up to 10 % at
   * random. No limit when absent.
   */
  readonly maxAgeMs?: number;
  /** Maximum number of concurrent connections, over all listeners. */
  readonly connections: number;
  /**
   * Maximum number of connections with an incomplete hello. When it is exceeded, the oldest is closed, preferably one
   * of the client with the most connections.
   */
  readonly pendingHellos: number;
  /** Limits per client; half of all connections, but at least 256, when absent. */
  readonly perClient?: PerClientLimits;
}

/** Limits per client. */
export interface PerClientLimits {
  /** Concurrent connections; half of all, but at least 256, when absent. */
  readonly connections?: number;
  /** Rate of new connections; further ones are refused. No limit when absent. */
  readonly rate?: Rate;
  /** Prefix lengths that define one client; a single IPv4 address, or a /64 of IPv6, when absent. */
  readonly prefix?: ClientPrefix;
}

/** Defaults that suit any machine. */
export const DEFAULT_LIMITS: Limits = {
  // Browsers give up after 10 to 30 s; a client that needs longer for its hello is stuck or hostile.
  helloTimeoutMs: 10_000,
  // The largest hello seen in the wild has about 17 KiB (padding, several post-quantum key shares); TLS allows 16 MiB.
  helloMaxBytes: 64 * 1024,
  // Consul's default for a mesh gateway.
  connectTimeoutMs: 5_000,
  // Further dials rarely succeed, and would multiply a storm of clients when everything is down.
  dials: 5,
  // Envoy's default for its TCP proxy, so that a migration does not cut connections that survived before.
  idleTimeoutMs: 3_600_000,
  // Few responses take longer to begin or to continue; peers that vanished silently are common.
  halfCloseTimeoutMs: 300_000,
  connections: 10_000,
  pendingHellos: 1_000,
};
