/** A proxy's own registration. */
export interface OwnInstance {
  readonly id: string;
  /** What tells it from others with the same id, see `instanceKey`. */
  readonly key: string;
}

/**
 * Whether the servers show what the local agent has registered. When they no longer do, other answers lack things, too: the agent has
 * left for a moment, the servers have lost their state, or the token may not see nodes any more.
 */
export class OwnVisibility {
  readonly #what: string;
  #seen: { readonly instance: string; readonly count: number } | undefined;

  /** @param what what the proxy is, for people: `gateway` */
  constructor(what: string) {
    this.#what = what;
  }

  /**
   * @param own absent when the agent has none
   * @param instances keys by id, as the servers show them
   * @returns the doubt in words; `undefined` when there is none
   */
  incompleteReason(
    own: OwnInstance | undefined,
    instances: ReadonlyMap<string, readonly string[]>,
  ): string | undefined {
    if (own === undefined) return undefined;
    const instance = `${own.id} ${own.key}`;
    const keys = instances.get(own.id) ?? [];
    if (keys.includes(own.key)) this.#seen = { instance, count: keys.length };
    // Registered anew with another address it is as many as before; what was never seen cannot be missed.
    const isMissing = this.#seen?.instance === instance && !keys.includes(own.key) && keys.length < this.#seen.count;
    if (!isMissing) return undefined;
    return `the servers do not show this ${this.#what}, which its agent has registered: the agent may have left, or the token may lack node_prefix "" read`;
  }
}
