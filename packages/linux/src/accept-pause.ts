import type { ListenOptions } from '@meshgate/core';
import type { TurnLoop } from './turn-loop.ts';

/**
 * The pause of a listener without the resources to accept: clients wait in the accept queue. `onPause` is called once
 * when the pause begins and once when it ends, however often an accept is retried in between.
 */
export class AcceptPause {
  readonly #turns: TurnLoop;
  readonly #key: number;
  readonly #listener: Pick<ListenOptions, 'onPause'>;
  #current: { readonly reason: Error; readonly closedBefore: number; waits: number } | undefined;

  /**
   * @param key key of the listener in the loop; the pause uses its deadline
   */
  constructor(turns: TurnLoop, key: number, listener: Pick<ListenOptions, 'onPause'>) {
    this.#turns = turns;
    this.#key = key;
    this.#listener = listener;
  }

  /** Whether accepting is paused. */
  get active(): boolean {
    return this.#current !== undefined;
  }

  /** Begins or extends a pause after a failed accept. */
  begin(reason: Error): void {
    const first = this.#current === undefined;
    this.#current = { reason, closedBefore: this.#turns.closed, waits: 0 };
    this.#turns.setDeadline(this.#key, PAUSE_MS);
    if (first) this.#listener.onPause(true, reason);
  }

  /**
   * Call this when the listener's deadline expires.
   * @returns whether to try an accept; if not, another deadline follows
   */
  isOver(): boolean {
    if (this.#current === undefined) return false;
    this.#current.waits += 1;
    // One of this process's descriptors was closed, or maybe one of another process, which is not reported.
    if (this.#turns.closed > this.#current.closedBefore || this.#current.waits >= WAITS_AT_MOST) return true;
    this.#turns.setDeadline(this.#key, PAUSE_MS);
    return false;
  }

  /** Ends the pause after a successful accept. */
  end(): void {
    if (this.#current === undefined) return;
    const { reason } = this.#current;
    this.#current = undefined;
    this.#listener.onPause(false, reason);
  }
}

/** Minimum length of a pause: a single free descriptor is not enough, and each pause is an event. */
const PAUSE_MS = 20;

/** A fifth of a second: shorter than any client's timeout. */
const WAITS_AT_MOST = 10;
