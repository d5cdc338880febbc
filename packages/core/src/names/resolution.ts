/** The addresses of a name. */
export interface Resolution {
  /** IPv4 and IPv6 addresses; at least one. */
  readonly hosts: readonly string[];
  /** How long they may be used, in seconds. */
  readonly ttlSeconds: number;
  /**
   * All addresses, when those of one family were still to come: the slower one is not waited for (RFC 8305, section 3). Never rejects;
   * `undefined` when nothing came.
   */
  readonly rest?: Promise<Resolution | undefined>;
}

/**
 * `absent`: the name does not exist, or has no address. `unavailable`: there was no authoritative answer; it may well exist.
 */
export type ResolutionFailure = 'absent' | 'unavailable';

/** A name that led to no address. */
export class ResolutionError extends Error {
  override readonly name = 'ResolutionError';
  /** Why: the name does not exist, or there was no authoritative answer. */
  readonly kind: ResolutionFailure;

  constructor(kind: ResolutionFailure, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/** Knows the addresses behind names. */
export interface NameSystem {
  /** Rejects with a {@link ResolutionError}; any other error counts as `unavailable`. Settles within seconds. */
  resolve(host: string): Promise<Resolution>;
  /** Whether earlier answers should be queried again, since what they depend on has changed. Never rejects. */
  hasChanged?(): Promise<boolean>;
}
