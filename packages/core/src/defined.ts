/** `T` with optional properties that are absent rather than `undefined`, as `exactOptionalPropertyTypes` demands. */
export type Defined<T> = { readonly [Key in keyof T]?: Exclude<T[Key], undefined> };

/** Returns `values` without its `undefined` properties. */
export function defined<T extends object>(values: T): Defined<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<T>;
}
