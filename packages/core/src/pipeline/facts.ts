import type { Accepted } from './connection.ts';

/**
 * Something that a filter learns of a connection, with its type: a filter sets it, resolvers, connectors, observers and the access
 * log read it. Facts are known by their name, so that plugins with copies of their own of this package share them.
 */
export interface Fact<T> {
  /** `mtls.caller`: what it is about, a dot, what it says. Unique among all plugins in use. */
  readonly name: string;
  /** What is known of `connection`; `undefined` when no filter has set it. */
  of(connection: Accepted): T | undefined;
  /** How the access log shows a value; absent when it does not. */
  readonly show?: (value: T) => string;
}

/**
 * Declares a fact.
 *
 * @param name see {@link Fact.name}
 * @param show how the access log shows a value; it leaves the fact out when this is absent
 */
export function fact<T>(name: string, show?: (value: T) => string): Fact<T> {
  // Set under this name by `FilterContext.set`, which takes values of this type only.
  const of = (connection: Accepted): T | undefined => connection.facts?.get(name)?.value as T | undefined;
  return { name, of, ...(show === undefined ? {} : { show }) };
}
