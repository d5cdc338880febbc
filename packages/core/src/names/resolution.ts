/** What is known of a name. */
export interface Resolution {
  /** IPv4 and IPv6 addresses; at least one. */
  readonly hosts: readonly string[];
  /** How long they may be used, in seconds. */
  readonly ttlSeconds: number;
  /**
   * All addresses, when those of one family were still to come: nobody waits for the slower one (RFC 8305, section 3). Never rejects;
   * `undefined` when nothing came.
   */
  readonly rest?: Promise<Resolution | undefined>;
}

/**
 * `absent`: the name does not exist, or has no address. `unavailable`: nobody could say so; it may well exist.
 */
export type ResolutionFailure = 'absent' | 'unavailable';

/** A name that led to no address. */
export class ResolutionError extends Error {
  override readonly name = 'ResolutionError';
  /** Why: the name does not exist, or nobody could say. */
  readonly kind: ResolutionFailure;

  constructor(kind: ResolutionFailure, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/** Knows the addresses behind names. */
export interface NameSystem {
  /** Rejects with a {@link ResolutionError}; any other error counts as `unavailable`. Ends within seconds, one way or the other. */
  resolve(host: string): Promise<Resolution>;
  /** Whether answers given before should be asked for anew, since what they rest on has changed. Never rejects. */
  hasChanged?(): Promise<boolean>;
}
