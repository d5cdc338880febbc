/** `T` with optional properties that are absent rather than `undefined`, as `exactOptionalPropertyTypes` demands. */
export type Present<T> = { readonly [Key in keyof T]?: Exclude<T[Key], undefined> };

/** Returns `values` without its `undefined` properties. */
export function present<T extends object>(values: T): Present<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Present<T>;
}
