/** The addresses of a name. */
export interface Resolution {
  /** IPv4 and IPv6 addresses; at least one. */
  readonly hosts: readonly string[];
  /** Time to live, in seconds. */
  readonly ttlSeconds: number;
  /**
   * All addresses, if the answer for one family was late and not waited for (RFC 8305, section 3). Never rejects;
   * `undefined` if that answer brought nothing.
   */
  readonly rest?: Promise<Resolution | undefined>;
}

/** `absent`: the name does not exist or has no address. `unavailable`: no authoritative answer; it may exist. */
export type ResolutionFailure = 'absent' | 'unavailable';

/** A failed resolution of a name. */
export class ResolutionError extends Error {
  override readonly name = 'ResolutionError';
  /** Reason of the failure. */
  readonly kind: ResolutionFailure;

  constructor(kind: ResolutionFailure, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/** Resolves names to addresses. */
export interface NameSystem {
  /** Settles within seconds. Rejects with a {@link ResolutionError}; any other error counts as `unavailable`. */
  resolve(host: string): Promise<Resolution>;
  /** Whether earlier answers are outdated because the files they depend on have changed. Never rejects. */
  hasChanged?(): Promise<boolean>;
}
