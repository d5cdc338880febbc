import type { Backend } from '../routes/route.ts';
import type { Accepted, Hello } from './connection.ts';

/** Selects the next backend among equal candidates: healthy, of one priority group, equally near. */
export interface Picker {
  /**
   * Returns one element of `from`. Synchronous: a connection waits for it.
   *
   * @param from at least one backend; the set may differ between calls, since failed backends are left out
   * @param client the client and its hello
   */
  pick(from: readonly Backend[], client: BalancedClient): Backend;
}

/** The connection that a picker selects a backend for. */
export interface BalancedClient {
  /** The client side: its address is `connection.remote`. */
  readonly connection: Accepted;
  /** The client's hello. */
  readonly hello: Hello;
}

/** Functions that a picker may call. */
export interface PickerOptions {
  /**
   * Returns the number of current connections of a backend in this process, including those being dialled, of all
   * routes whose balance counts them.
   */
  load(backend: Backend): number;
  /** Returns a random number in [0, 1). */
  random(): number;
}

/**
 * Creates a picker for one route; the picker may keep state between picks. Must not start anything: `--check` calls it
 * too.
 *
 * @throws ConfigProblems or any other error if `settings` are invalid
 */
export type BalanceFactory = (settings: Readonly<Record<string, unknown>>, options: PickerOptions) => Picker;
