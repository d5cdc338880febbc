import type { Backend } from '../routes/route.ts';
import type { Accepted, Hello } from './connection.ts';

/** Chooses the next backend among equals: those that are healthy, of one priority group, and equally near. */
export interface Picker {
  /**
   * Chooses one of `from`. Synchronous: a connection waits for it.
   *
   * @param from at least one backend; need not be the same set each time, since backends that have failed are left out
   * @param client who connects, and what it asked for
   */
  pick(from: readonly Backend[], client: BalancedClient): Backend;
}

/** What a picker knows of the connection for which it chooses. */
export interface BalancedClient {
  /** The client's side: its address is `connection.remote`. */
  readonly connection: Accepted;
  /** What the client asked for. */
  readonly hello: Hello;
}

/** What a picker may ask. */
export interface PickerOptions {
  /** Connections that the backend has now in this process, those being dialled too, of all routes whose balance counts them. */
  load(backend: Backend): number;
  /** In [0, 1). */
  random(): number;
}

/**
 * Makes a picker for one route; it may keep state from one pick to the next. A check calls it, too: it starts nothing.
 *
 * @throws ConfigProblems, or any error, when `settings` are wrong
 */
export type BalanceFactory = (settings: Readonly<Record<string, unknown>>, options: PickerOptions) => Picker;
