// The one file that knows the container behind the composition. What it adds to tsyringe is that a token carries a type: the
// compiler then checks every edge of the graph, which decorators cannot have it do.
import 'reflect-metadata';
import { container as root, instanceCachingFactory } from 'tsyringe';
import type { DependencyContainer } from 'tsyringe';

/** Stands for a part, or for several of one kind, whose type is `T`. */
export interface Token<T> {
  readonly key: symbol;
  /** Never there: it lets the compiler tell tokens of different types apart. */
  readonly type?: T;
}

/** Where the parts of one composition are kept. */
export type Container = DependencyContainer;

/** A container of its own for each composition: two of them in one process share nothing. */
export function newContainer(): Container {
  return root.createChildContainer();
}

/** @param name shown when the part is missing */
export function token<T>(name: string): Token<T> {
  return { key: Symbol(name) };
}

/** Says how the part is made. It is made once, when it is first asked for; binding a token again adds another part. */
export function bind<T>(container: Container, { key }: Token<T>, make: () => T): void {
  container.register<T>(key, { useFactory: instanceCachingFactory(make) });
}

/** {@link bind} for each of several parts that exist already. */
export function bindEach<T>(container: Container, kind: Token<T>, parts: readonly T[]): void {
  for (const part of parts) bind(container, kind, () => part);
}

/** The part. Throws when nothing is bound to the token. */
export function one<T>(container: Container, { key }: Token<T>): T {
  return container.resolve<T>(key);
}

/** {@link one}, asked for at the first call and kept: for what runs with each connection, and for parts that are made later. */
export function later<T>(container: Container, part: Token<T>): () => T {
  let found: { readonly part: T } | undefined;
  return () => (found ??= { part: one(container, part) }).part;
}

/** Every part that is bound to the token, in the order of binding; none is fine. */
export function all<T>(container: Container, { key }: Token<T>): readonly T[] {
  return container.isRegistered(key) ? container.resolveAll<T>(key) : [];
}
