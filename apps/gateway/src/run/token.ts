// The one file that knows the container behind the composition. It adds typed tokens to tsyringe: the compiler then
// checks every edge of the graph, which decorators cannot do.
import 'reflect-metadata';
import { container as root, instanceCachingFactory } from 'tsyringe';
import type { DependencyContainer } from 'tsyringe';

/** Stands for a part, or for several of one kind, whose type is `T`. */
export interface Token<T> {
  readonly key: symbol;
  /** Never set: it lets the compiler distinguish tokens of different types. */
  readonly type?: T;
}

/** Holds the parts of one composition. */
export type Container = DependencyContainer;

/** A new container for each composition: two in one process share nothing. */
export function newContainer(): Container {
  return root.createChildContainer();
}

/** @param name shown when the part is missing */
export function token<T>(name: string): Token<T> {
  return { key: Symbol(name) };
}

/** Defines how the part is made. It is made once, on first use; binding a token again adds another part. */
export function bind<T>(container: Container, { key }: Token<T>, make: () => T): void {
  container.register<T>(key, { useFactory: instanceCachingFactory(make) });
}

/** {@link bind} for each of several existing parts. */
export function bindEach<T>(container: Container, kind: Token<T>, parts: readonly T[]): void {
  for (const part of parts) bind(container, kind, () => part);
}

/** The part. Throws when nothing is bound to the token. */
export function one<T>(container: Container, { key }: Token<T>): T {
  return container.resolve<T>(key);
}

/** {@link one}, resolved at the first call and cached: for hot paths, and for parts that are made later. */
export function later<T>(container: Container, part: Token<T>): () => T {
  let found: { readonly part: T } | undefined;
  return () => (found ??= { part: one(container, part) }).part;
}

/** Every part bound to the token, in the order of binding; may be empty. */
export function all<T>(container: Container, { key }: Token<T>): readonly T[] {
  return container.isRegistered(key) ? container.resolveAll<T>(key) : [];
}
