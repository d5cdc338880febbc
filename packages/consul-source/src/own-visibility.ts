/** A proxy's own registration. */
export interface OwnInstance {
  readonly id: string;
  /** Distinguishes it from other instances with the same id, see `instanceKey`. */
  readonly key: string;
}

/**
 * Tracks whether the servers show the registration of the local agent. When they no longer do, other responses are
 * incomplete, too: the agent has left the cluster for a moment, the servers have lost their state, or the token may no
 * longer read nodes.
 */
export class OwnVisibility {
  readonly #what: string;
  #seen: { readonly instance: string; readonly count: number } | undefined;

  /** @param what kind of the proxy, for messages: `gateway` */
  constructor(what: string) {
    this.#what = what;
  }

  /**
   * Returns why responses may be incomplete; `undefined` when nothing indicates that.
   *
   * @param own the proxy's registration; absent when the agent has none
   * @param instances keys of instances by id, as the servers show them
   */
  incompleteReason(
    own: OwnInstance | undefined,
    instances: ReadonlyMap<string, readonly string[]>,
  ): string | undefined {
    if (own === undefined) return undefined;
    const instance = `${own.id} ${own.key}`;
    const keys = instances.get(own.id) ?? [];
    if (keys.includes(own.key)) this.#seen = { instance, count: keys.length };
    // A registration with a new address is not missing, nor is one that was never visible.
    const isMissing = this.#seen?.instance === instance && !keys.includes(own.key) && keys.length < this.#seen.count;
    if (!isMissing) return undefined;
    return `the servers do not show this ${this.#what}, although its agent has registered it: the agent may have left, or the token may lack node_prefix "" read`;
  }
}
