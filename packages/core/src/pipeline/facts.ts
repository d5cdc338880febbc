import type { Accepted } from './connection.ts';

/**
 * A typed fact about a connection: set by a filter, read by resolvers, connectors, observers and the access log. Facts
 * are identified by name, so that plugins with their own copies of this package share them.
 */
export interface Fact<T> {
  /** Name with a prefix for its subject, such as `mtls.caller`. Unique among all plugins in use. */
  readonly name: string;
  /** Returns the value for `connection`, or `undefined` if no filter has set it. */
  of(connection: Accepted): T | undefined;
  /** Formats a value for the access log; absent if the log omits the fact. */
  readonly show?: (value: T) => string;
}

/**
 * Declares a fact.
 *
 * @param name see {@link Fact.name}
 * @param show formats a value for the access log; without it, the log omits the fact
 */
export function fact<T>(name: string, show?: (value: T) => string): Fact<T> {
  // `FilterContext.set` only accepts values of this type under this name.
  const of = (connection: Accepted): T | undefined => connection.facts?.get(name)?.value as T | undefined;
  return { name, of, ...(show === undefined ? {} : { show }) };
}
