import { ifRejected } from '../errors.ts';

/**
 * Returns the reason why `part` is not an object with these methods, or `undefined`: plugins and embedders may be plain
 * JavaScript.
 */
export function shapeProblem(part: unknown, ...methods: readonly string[]): string | undefined {
  const missing = methods.find((name) => typeof Reflect.get(Object(part), name) !== 'function');
  if (typeof part === 'object' && part !== null && missing === undefined) return undefined;
  return `expected an object with ${methods.map((name) => `${name}()`).join(', ')}, found ${foundPart(part, missing)}`;
}

/**
 * Describes a wrong part, or a wrong result of one, for error messages. A promise among them is not awaited by anybody:
 * its rejection is ignored.
 *
 * @param missing the missing method
 */
export function foundPart(part: unknown, missing?: string): string {
  if (part === null) return 'null';
  if (isThenable(part)) {
    ifRejected(part, () => undefined);
    return 'a promise';
  }
  if (Array.isArray(part)) return 'a list';
  if (typeof part === 'object') return missing === undefined ? 'an object' : `one without ${missing}()`;
  return part === undefined ? 'nothing' : `a ${typeof part}`;
}

/** Whether `value` is a promise, or a thenable of another library. Never throws. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  try {
    return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
  } catch {
    return false;
  }
}
