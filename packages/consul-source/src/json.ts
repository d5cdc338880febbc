// Lenient reading of foreign JSON: a field that is missing or has another type counts as absent, so that a field that a later Consul
// adds or drops is never fatal. Callers that need more check for it and report it.

/** An object of unknown fields. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** `value` as an object; `undefined` when it is not one. An array is not one. */
export function object(value: unknown): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;
}

/** `value` as a list; empty when it is not one. Go writes an empty list as `null`. */
export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** The objects in a list; other elements are skipped. */
export function objects(value: unknown): readonly JsonObject[] {
  return list(value)
    .map(object)
    .filter((item) => item !== undefined);
}

/** `value` as a string; `''` when it is not one. */
export function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** `value` as a finite number; 0 when it is not one. */
export function number(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}

/** The fields of `value` whose values are strings. */
export function strings(value: unknown): Readonly<Record<string, string>> {
  const entries = Object.entries(object(value) ?? {});
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}

/** The fields of `value`, each converted by `turn`. */
export function mapped<T>(value: unknown, turn: (value: unknown, key: string) => T): Readonly<Record<string, T>> {
  return Object.fromEntries(Object.entries(object(value) ?? {}).map(([key, field]) => [key, turn(field, key)]));
}

/**
 * The elements of a JSON list, each as a string, in order. Looks only at brackets and strings: errors inside an element are left to
 * its parser.
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

/** Where the string that opens at `from` ends; the end of the input when it does not. */
function closingQuote(json: string, from: number): number {
  for (let at = json.indexOf('"', from + 1); at !== -1; at = json.indexOf('"', at + 1)) {
    let first = at;
    while (json[first - 1] === '\\') first -= 1;
    if ((at - first) % 2 === 0) return at;
  }
  return json.length;
}
