import type { ListenOptions } from '@meshgate/core';
import type { TurnLoop } from './turn-loop.ts';

/**
 * The pause of a listener that has nothing left to accept with: clients wait in the kernel's queue, unharmed, until there is room again. Who
 * listens is told once that it has begun and once that it is over, however often accepting is tried in between.
 */
export class AcceptPause {
  readonly #turns: TurnLoop;
  readonly #key: number;
  readonly #listener: Pick<ListenOptions, 'onPause'>;
  #current: { readonly reason: Error; readonly closedBefore: number; waits: number } | undefined;

  /** @param key of the listener in the loop, whose deadline is the pause's */
  constructor(turns: TurnLoop, key: number, listener: Pick<ListenOptions, 'onPause'>) {
    this.#turns = turns;
    this.#key = key;
    this.#listener = listener;
  }

  /** Accepting has paused. */
  get active(): boolean {
    return this.#current !== undefined;
  }

  /** An accept has failed for `reason`: begins a pause, or goes on with the one that there is. */
  begin(reason: Error): void {
    const first = this.#current === undefined;
    this.#current = { reason, closedBefore: this.#turns.closed, waits: 0 };
    this.#turns.setDeadline(this.#key, PAUSE_MS);
    if (first) this.#listener.onPause(true, reason);
  }

  /** To be asked when the listener's deadline is over. @returns whether to try an accept; if not, there will be another deadline */
  isOver(): boolean {
    if (this.#current === undefined) return false;
    this.#current.waits += 1;
    // Somebody of ours has closed a descriptor; or somebody else may have, of whom we hear nothing.
    if (this.#turns.closed > this.#current.closedBefore || this.#current.waits >= WAITS_AT_MOST) return true;
    this.#turns.setDeadline(this.#key, PAUSE_MS);
    return false;
  }

  /** An accept has not failed. */
  end(): void {
    if (this.#current === undefined) return;
    const { reason } = this.#current;
    this.#current = undefined;
    this.#listener.onPause(false, reason);
  }
}

/** How long a pause lasts at least: room for one connection is no room yet, and each pause is an event for somebody to read. */
const PAUSE_MS = 20;

/** A fifth of a second: short enough that a client's own patience is not over. */
const WAITS_AT_MOST = 10;
