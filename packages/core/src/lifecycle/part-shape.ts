/**
 * Returns the reason why `part` is not an object with these methods, or `undefined`: plugins and embedders may be plain
 * JavaScript.
 */
export function shapeProblem(part: unknown, ...methods: readonly string[]): string | undefined {
  const missing = methods.find((name) => typeof Reflect.get(Object(part), name) !== 'function');
  if (typeof part === 'object' && part !== null && missing === undefined) return undefined;
  return `expected an object with ${methods.map((name) => `${name}()`).join(', ')}, found ${foundPart(part, missing)}`;
}

/** Describes a wrong part for error messages. @param missing the missing method */
export function foundPart(part: unknown, missing: string | undefined): string {
  if (part === null) return 'null';
  if (part instanceof Promise) return 'a promise';
  if (Array.isArray(part)) return 'a list';
  if (typeof part === 'object') return `one without ${missing}()`;
  return part === undefined ? 'nothing' : `a ${typeof part}`;
}
