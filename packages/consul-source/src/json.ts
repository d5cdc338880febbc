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
export function strings(value: unknown): Readonly<Record<string, string>> {
  const entries = Object.entries(object(value) ?? {});
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}

/** The fields of `value`, each turned by `turn`. */
export function mapped<T>(value: unknown, turn: (value: unknown, key: string) => T): Readonly<Record<string, T>> {
  return Object.fromEntries(Object.entries(object(value) ?? {}).map(([key, field]) => [key, turn(field, key)]));
}

/**
 * The elements of a list in JSON, each as text, in order. Reads no more than brackets and strings: what is wrong inside an element is for
 * whoever parses it to find.
 */
export function* elementsOf(json: string): Generator<string, void, void> {
  let depth = 0;
  let start = -1;
  for (let at = 0; at < json.length; at += 1) {
    const char = json[at];
    if (char === '"') at = closingQuote(json, at);
    else if (char === '{' || char === '[') {
      depth += 1;
      if (depth === 2) start = at;
    } else if (char === '}' || char === ']') {
      depth -= 1;
      if (depth === 1) yield json.slice(start, at + 1);
    }
  }
  if (depth !== 0) throw new SyntaxError('expected the end of a list, found the end of the text');
}

/** Where the string that opens at `from` ends; the end of the text when it does not. */
function closingQuote(json: string, from: number): number {
  for (let at = json.indexOf('"', from + 1); at !== -1; at = json.indexOf('"', at + 1)) {
    let first = at;
    while (json[first - 1] === '\\') first -= 1;
    if ((at - first) % 2 === 0) return at;
  }
  return json.length;
}
