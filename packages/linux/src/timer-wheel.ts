/**
 * Deadlines by small integer (here: by file descriptor), at most one each: a hierarchical timing wheel (Varghese and
 * Lauck, 1987). Setting, moving and clearing one takes a few array writes and no allocation, which is cheap enough for
 * an idle connection. A deadline never fires early, and at most two ticks late.
 *
 * Four wheels of 64 slots: a slot of the first is one tick, a slot of each further one is a full turn of the previous.
 * A deadline waits in the coarsest wheel that it needs and moves to a finer one when its slot comes up.
 */
export class TimerWheel {
  readonly #heads = new Int32Array(WHEELS * SLOTS).fill(NONE);
  #next: Int32Array;
  #previous: Int32Array;
  /** The slot of each key; NONE without a deadline. */
  #slotOf: Int32Array;
  #dueTick: Float64Array;
  /** The first tick that has not been processed. */
  #tick: number;
  #size = 0;
  #advancing = false;

  constructor(nowMs: number) {
    this.#tick = tickOf(nowMs);
    this.#next = new Int32Array(INITIAL_KEYS).fill(NONE);
    this.#previous = new Int32Array(INITIAL_KEYS).fill(NONE);
    this.#slotOf = new Int32Array(INITIAL_KEYS).fill(NONE);
    this.#dueTick = new Float64Array(INITIAL_KEYS);
  }

  /** Number of deadlines. */
  get size(): number {
    return this.#size;
  }

  /** Sets the deadline of `key`, replacing an earlier one. */
  set(key: number, atMs: number, nowMs: number): void {
    if (key >= this.#slotOf.length) this.#grow(key);
    this.clear(key);
    // An empty wheel need not be advanced through the time without deadlines. During an advance its position must not
    // change: a deadline set then would land in a slot that counts as the far end of the next turn, or fire at once.
    if (this.#size === 0 && !this.#advancing) this.#tick = tickOf(nowMs);
    this.#dueTick[key] = Math.max(Math.ceil(atMs / TICK_MS), this.#tick + 1);
    this.#insert(key);
    this.#size += 1;
  }

  /** Clears the deadline of `key`. Idempotent. */
  clear(key: number): void {
    if (key >= this.#slotOf.length || this.#slotOf[key] === NONE) return;
    this.#remove(key);
    this.#size -= 1;
  }

  /** Clears every expired deadline and calls `onDue` with its key; `onDue` may set a new one at once. */
  advance(nowMs: number, onDue: (key: number) => void): void {
    this.#advancing = true;
    try {
      this.#turn(Math.floor(nowMs / TICK_MS), onDue);
    } finally {
      this.#advancing = false;
    }
  }

  /** @param last the last elapsed tick */
  #turn(last: number, onDue: (key: number) => void): void {
    while (this.#tick <= last && this.#size > 0) {
      this.#cascade();
      const slot = this.#tick % SLOTS;
      // A deadline set in `onDue` is in a later tick, and therefore in another slot: this slot can only shrink.
      for (let key = this.#at(slot); key !== NONE; key = this.#at(slot)) {
        this.clear(key);
        onDue(key);
      }
      this.#tick += 1;
    }
  }

  /**
   * Returns the milliseconds until the next work; `undefined` without deadlines. At most one turn of the first wheel,
   * since later deadlines are still in a coarser one.
   */
  quietMs(nowMs: number): number | undefined {
    if (this.#size === 0) return undefined;
    let tick = this.#tick;
    while (tick % SLOTS !== 0 && this.#at(tick % SLOTS) === NONE) tick += 1;
    return Math.max(0, tick * TICK_MS - nowMs);
  }

  /** Distributes the next slot of each coarser wheel when the finer one starts a turn. */
  #cascade(): void {
    let span = SLOTS;
    for (let wheel = 1; wheel < WHEELS && this.#tick % span === 0; wheel += 1) {
      const slot = wheel * SLOTS + (Math.floor(this.#tick / span) % SLOTS);
      let key = this.#at(slot);
      this.#heads[slot] = NONE;
      while (key !== NONE) {
        const following = this.#next[key] ?? NONE;
        this.#insert(key);
        key = following;
      }
      span *= SLOTS;
    }
  }

  #at(slot: number): number {
    return this.#heads[slot] ?? NONE;
  }

  #insert(key: number): void {
    const slot = this.#slotFor(this.#dueTick[key] ?? 0);
    const head = this.#at(slot);
    this.#next[key] = head;
    this.#previous[key] = NONE;
    if (head !== NONE) this.#previous[head] = key;
    this.#heads[slot] = key;
    this.#slotOf[key] = slot;
  }

  #slotFor(dueTick: number): number {
    const inTicks = dueTick - this.#tick;
    let span = 1;
    for (let wheel = 0; wheel < WHEELS; wheel += 1) {
      if (inTicks < span * SLOTS) return wheel * SLOTS + (Math.floor(dueTick / span) % SLOTS);
      span *= SLOTS;
    }
    // Beyond the last wheel's turn (37 hours): stored at its end, and inserted again from there.
    const last = span / SLOTS;
    return (WHEELS - 1) * SLOTS + ((Math.floor(this.#tick / last) + SLOTS - 1) % SLOTS);
  }

  #remove(key: number): void {
    const next = this.#next[key] ?? NONE;
    const previous = this.#previous[key] ?? NONE;
    if (previous === NONE) this.#heads[this.#slotOf[key] ?? 0] = next;
    else this.#next[previous] = next;
    if (next !== NONE) this.#previous[next] = previous;
    this.#slotOf[key] = NONE;
  }

  #grow(key: number): void {
    const length = 2 ** Math.ceil(Math.log2(key + 1));
    this.#next = grown(this.#next, length);
    this.#previous = grown(this.#previous, length);
    this.#slotOf = grown(this.#slotOf, length);
    const dueTick = new Float64Array(length);
    dueTick.set(this.#dueTick);
    this.#dueTick = dueTick;
  }
}

/** Fine enough for a connect timeout on a local network, coarse enough that advancing the wheel costs nothing. */
export const TICK_MS = 8;

const SLOTS = 64;
const WHEELS = 4;
const NONE = -1;
const INITIAL_KEYS = 1024;

function tickOf(ms: number): number {
  return Math.floor(ms / TICK_MS);
}

function grown(array: Int32Array, length: number): Int32Array {
  const larger = new Int32Array(length).fill(NONE);
  larger.set(array);
  return larger;
}
