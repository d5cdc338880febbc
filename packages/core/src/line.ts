/**
 * Who is there, in the order in which they came; everybody may leave at any time.
 *
 * A `Map` would do the same, and cost more than all the rest: with every connection it is written to and deleted from, and now and
 * then it moves to a new table, to which the old one keeps a reference. Once such a table has grown old in V8's heap, every later
 * one, and whatever stands in it, lives on until the next full collection. Here, who has left refers to nobody.
 */
export class Line<One> {
  #first: Place<One> | undefined;
  #last: Place<One> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The place of who has been there for longest. */
  get first(): Place<One> | undefined {
    return this.#first;
  }

  /** @returns the place of `one`, which is its own until it leaves it */
  enter(one: One): Place<One> {
    const place: Place<One> = { one, earlier: this.#last, later: undefined };
    if (this.#last === undefined) this.#first = place;
    else this.#last.later = place;
    this.#last = place;
    this.#size += 1;
    return place;
  }

  /** @param place one of this line. Idempotent. */
  leave(place: Place<One>): void {
    const { earlier, later } = place;
    if (earlier === undefined && this.#first !== place) return;
    if (earlier === undefined) this.#first = later;
    else earlier.later = later;
    if (later === undefined) this.#last = earlier;
    else later.earlier = earlier;
    place.earlier = undefined;
    place.later = undefined;
    this.#size -= 1;
  }

  /** In their order. Who is being looked at may leave meanwhile. */
  *[Symbol.iterator](): Generator<One, void, void> {
    for (let place = this.#first; place !== undefined;) {
      const { one, later } = place;
      yield one;
      place = later;
    }
  }
}

/** A place in a {@link Line}. Belongs to whoever entered; changed by the line alone. */
export interface Place<One> {
  readonly one: One;
  earlier: Place<One> | undefined;
  later: Place<One> | undefined;
}
