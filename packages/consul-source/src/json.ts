// Lenient reading of foreign JSON. A field that is missing or has another type counts as absent, so that changes in a
// later Consul release are never fatal; callers that require a field check for it and report it.

/** An object of unknown fields. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Returns `value` as an object; `undefined` for other types and arrays. */
export function object(value: unknown): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;
}

/** Returns `value` as a list; empty for other types. Go writes an empty list as `null`. */
export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Returns the objects in a list, without its other elements. */
export function objects(value: unknown): readonly JsonObject[] {
  return list(value)
    .map(object)
    .filter((item) => item !== undefined);
}

/** Returns the objects in a list; `undefined` when `value` is not a list. */
export function listOfObjects(value: unknown): readonly JsonObject[] | undefined {
  return Array.isArray(value) ? objects(value) : undefined;
}

/** Returns `value` as a string; `''` for other types. */
export function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** Returns `value` as a string; `undefined` for an empty one and other types. */
export function optionalText(value: unknown): string | undefined {
  return text(value) || undefined;
}

/** Returns `value` as a finite number; 0 for other values. */
export function number(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}

/** Returns the fields of `value` whose values are strings. */
export function strings(value: unknown): Readonly<Record<string, string>> {
  const entries = Object.entries(object(value) ?? {});
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}

/** Returns the fields of `value`, each converted by `turn`. */
export function mapped<T>(value: unknown, turn: (value: unknown, key: string) => T): Readonly<Record<string, T>> {
  return Object.fromEntries(Object.entries(object(value) ?? {}).map(([key, field]) => [key, turn(field, key)]));
}

/**
 * Yields the elements of a JSON list as strings, in order. Looks only at brackets and strings; errors inside an element
 * are left to its parser.
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
  if (depth !== 0) throw new SyntaxError('expected the end of a list, found the end of the response');
}

/** Returns the index of the quote that closes the string at `from`; the end of the input when there is none. */
function closingQuote(json: string, from: number): number {
  for (let at = json.indexOf('"', from + 1); at !== -1; at = json.indexOf('"', at + 1)) {
    let first = at;
    while (json[first - 1] === '\\') first -= 1;
    if ((at - first) % 2 === 0) return at;
  }
  return json.length;
}
