/** What may stand in a {@link LinkedList}, in one at a time. Both fields are set by the list alone; `undefined` outside of it. */
export interface Linked<Node> {
  earlier: Node | undefined;
  later: Node | undefined;
}

/**
 * A doubly linked list in order of insertion, with removal in constant time. Its members hold the links: it allocates nothing.
 *
 * Not a `Map`: one that is written to and deleted from with each connection moves to a new table now and then, and the old table refers
 * to the new one. Once such a table is in V8's old generation, every later table, and all that it holds, survives until the next full
 * collection. Here, a removed member refers to no other.
 */
export class LinkedList<Node extends Linked<Node>> {
  #first: Node | undefined;
  #last: Node | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The oldest. */
  get first(): Node | undefined {
    return this.#first;
  }

  /** Appends `node`, which must be in no list. */
  push(node: Node): void {
    node.earlier = this.#last;
    if (this.#last === undefined) this.#first = node;
    else this.#last.later = node;
    this.#last = node;
    this.#size += 1;
  }

  /** Removes `node`, a member of this list. Idempotent. */
  remove(node: Node): void {
    const { earlier, later } = node;
    if (earlier === undefined && this.#first !== node) return;
    if (earlier === undefined) this.#first = later;
    else earlier.later = later;
    if (later === undefined) this.#last = earlier;
    else later.earlier = earlier;
    node.earlier = undefined;
    node.later = undefined;
    this.#size -= 1;
  }

  /** Oldest first. The one being looked at may be removed meanwhile. */
  *[Symbol.iterator](): Generator<Node, void, void> {
    for (let node = this.#first; node !== undefined;) {
      const { later } = node;
      yield node;
      node = later;
    }
  }
}
