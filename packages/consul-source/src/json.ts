// Reading JSON that somebody else wrote: what is missing or of another type reads as absent, so that a field that a later Consul
// adds or drops is never fatal. Whoever needs more checks for it and says so.

/** An object of unknown fields. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** `value` as an object; `undefined` when it is none. An array is none. */
export function object(value: unknown): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;
}

/** `value` as a list; empty when it is none. Go writes an empty list as `null`. */
export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** The objects of a list; anything else in it is passed over. */
export function objects(value: unknown): readonly JsonObject[] {
  return list(value)
    .map(object)
    .filter((item) => item !== undefined);
}

/** `value` as text; `''` when it is none. */
export function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** `value` as a finite number; 0 when it is none. */
export function number(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}

/** The fields of `value` whose values are text. */
export function texts(value: unknown): Readonly<Record<string, string>> {
  const entries = Object.entries(object(value) ?? {});
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}

/** The fields of `value`, each turned by `turn`. */
export function mapped<T>(value: unknown, turn: (value: unknown, key: string) => T): Readonly<Record<string, T>> {
  return Object.fromEntries(Object.entries(object(value) ?? {}).map(([key, field]) => [key, turn(field, key)]));
}
