/** `exactOptionalPropertyTypes`: a property that is absent, instead of one that is `undefined`. */
export type Present<T> = { readonly [Key in keyof T]?: Exclude<T[Key], undefined> };

/** `values` without the properties that are `undefined`. */
export function present<T extends object>(values: T): Present<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Present<T>;
}
