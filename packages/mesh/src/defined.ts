/** `exactOptionalPropertyTypes`: a property that is absent, instead of one that is `undefined`. */
export type Defined<T> = { readonly [Key in keyof T]?: Exclude<T[Key], undefined> };

/** `values` without the properties that are `undefined`. */
export function defined<T extends object>(values: T): Defined<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<T>;
}
