// The only file that depends on the container behind the composition. It adds typed tokens to tsyringe, so that the
// compiler checks every edge of the graph, which decorators cannot do.
import 'reflect-metadata';
import { container as root, instanceCachingFactory } from 'tsyringe';
import type { DependencyContainer } from 'tsyringe';

/** Identifies a part of type `T`, or several of one kind. */
export interface Token<T> {
  readonly key: symbol;
  /** Never set: lets the compiler distinguish tokens of different types. */
  readonly type?: T;
}

/** Holds the parts of one composition. */
export type Container = DependencyContainer;

/** Creates a container. Compositions in the same process share nothing. */
export function newContainer(): Container {
  return root.createChildContainer();
}

/** Creates a token. @param name name in the error when the part is missing */
export function token<T>(name: string): Token<T> {
  return { key: Symbol(name) };
}

/** Defines how to create a part, once, on first use. Binding a token again adds another part. */
export function bind<T>(container: Container, { key }: Token<T>, make: () => T): void {
  container.register<T>(key, { useFactory: instanceCachingFactory(make) });
}

/** Binds each of several existing parts. */
export function bindEach<T>(container: Container, kind: Token<T>, parts: readonly T[]): void {
  for (const part of parts) bind(container, kind, () => part);
}

/** Returns the part of a token. Throws when none is bound. */
export function one<T>(container: Container, { key }: Token<T>): T {
  return container.resolve<T>(key);
}

/** Like {@link one}, resolved at the first call and cached: for hot paths, and for parts that are bound later. */
export function later<T>(container: Container, part: Token<T>): () => T {
  let found: { readonly part: T } | undefined;
  return () => (found ??= { part: one(container, part) }).part;
}

/** Returns every part of a token in the order of binding; may be empty. */
export function all<T>(container: Container, { key }: Token<T>): readonly T[] {
  return container.isRegistered(key) ? container.resolveAll<T>(key) : [];
}
