/** A member of at most one {@link LinkedList}. The list alone sets both fields; they are `undefined` outside of it. */
export interface Linked<Node> {
  earlier: Node | undefined;
  later: Node | undefined;
}

/**
 * A doubly linked list in order of insertion, with removal in constant time. The members hold the links: the list
 * allocates nothing.
 *
 * Not a `Map`: with an insertion and a deletion per connection it is rehashed now and then, and the old table refers to
 * the new one. Once such a table is in V8's old generation, every later table, with all of its entries, survives until
 * the next full garbage collection. A removed member of this list refers to no other.
 */
export class LinkedList<Node extends Linked<Node>> {
  #first: Node | undefined;
  #last: Node | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The oldest member. */
  get first(): Node | undefined {
    return this.#first;
  }

  /** Appends `node`, which must not be in any list. */
  push(node: Node): void {
    node.earlier = this.#last;
    if (this.#last === undefined) this.#first = node;
    else this.#last.later = node;
    this.#last = node;
    this.#size += 1;
  }

  /** Removes `node`. Idempotent. */
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

  /** Iterates oldest first. The current member may be removed during the iteration. */
  *[Symbol.iterator](): Generator<Node, void, void> {
    for (let node = this.#first; node !== undefined;) {
      const { later } = node;
      yield node;
      node = later;
    }
  }
}
