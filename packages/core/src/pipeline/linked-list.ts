/**
 * Who is there, in the order in which they came; everybody may leave at any time.
 *
 * A `Map` would do the same, and cost more than all the rest: with every connection it is written to and deleted from, and now and
 * then it moves to a new table, to which the old one keeps a reference. Once such a table has grown old in V8's heap, every later
 * one, and whatever stands in it, lives on until the next full collection. Here, who has left refers to nobody.
 */
export class LinkedList<One> {
  #first: ListNode<One> | undefined;
  #last: ListNode<One> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The node of who has been there for longest. */
  get first(): ListNode<One> | undefined {
    return this.#first;
  }

  /** @returns the node of `one`, which is its own until it leaves it */
  push(one: One): ListNode<One> {
    const node: ListNode<One> = { one, earlier: this.#last, later: undefined };
    if (this.#last === undefined) this.#first = node;
    else this.#last.later = node;
    this.#last = node;
    this.#size += 1;
    return node;
  }

  /** @param node one of this line. Idempotent. */
  remove(node: ListNode<One>): void {
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

  /** In their order. Who is being looked at may leave meanwhile. */
  *[Symbol.iterator](): Generator<One, void, void> {
    for (let node = this.#first; node !== undefined;) {
      const { one, later } = node;
      yield one;
      node = later;
    }
  }
}

/** A node in a {@link LinkedList}. Belongs to whoever entered; changed by the line alone. */
export interface ListNode<One> {
  readonly one: One;
  earlier: ListNode<One> | undefined;
  later: ListNode<One> | undefined;
}
