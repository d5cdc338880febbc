/** A proxy's own registration. */
export interface OwnInstance {
  readonly id: string;
  /** Distinguishes it from others with the same id, see `instanceKey`. */
  readonly key: string;
}

/**
 * Whether the servers show what the local agent registered. When they no longer do, other responses are incomplete, too: the agent has
 * left for a moment, the servers have lost their state, or the token may not read nodes any more.
 */
export class OwnVisibility {
  readonly #what: string;
  #seen: { readonly instance: string; readonly count: number } | undefined;

  /** @param what what the proxy is, for messages: `gateway` */
  constructor(what: string) {
    this.#what = what;
  }

  /**
   * @param own absent when the agent has none
   * @param instances keys by id, as the servers show them
   * @returns why responses may be incomplete; `undefined` when nothing suggests that
   */
  incompleteReason(
    own: OwnInstance | undefined,
    instances: ReadonlyMap<string, readonly string[]>,
  ): string | undefined {
    if (own === undefined) return undefined;
    const instance = `${own.id} ${own.key}`;
    const keys = instances.get(own.id) ?? [];
    if (keys.includes(own.key)) this.#seen = { instance, count: keys.length };
    // A registration with another address does not count as missing, and what was never visible cannot be missed.
    const isMissing = this.#seen?.instance === instance && !keys.includes(own.key) && keys.length < this.#seen.count;
    if (!isMissing) return undefined;
    return `the servers do not show this ${this.#what}, although its agent has registered it: the agent may have left, or the token may lack node_prefix "" read`;
  }
}
