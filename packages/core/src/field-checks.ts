// Checks of values without a declared type: sources, plugins and embedders may be plain JavaScript.
import type { Problem } from './lifecycle/plugin.ts';

/** Whether a value is valid. */
export type ValueCheck = (value: unknown) => boolean;

/** One field of an object: what is expected, its check, and the fields of its own if it is an object. */
export type FieldCheck = readonly [key: string, expected: string, isRight: ValueCheck, fields?: readonly FieldCheck[]];

/** What an object is, and its fields. */
export type ObjectCheck = readonly [expected: string, fields: readonly FieldCheck[]];

/** An object whose fields have not been checked. */
export type UnknownFields = Readonly<Record<string, unknown>>;

/**
 * Checks the fields of `value`, which should be an object, and reports each wrong one.
 *
 * @returns whether it is an object
 */
export function checkFields(
  value: unknown,
  path: Problem['path'],
  [expected, fields]: ObjectCheck,
  report: (problem: Problem) => void,
): value is UnknownFields {
  if (!isRecord(value)) {
    report(wrong(path, expected, value));
    return false;
  }
  for (const [key, expectedField, isRight, inner] of fields) {
    const field = value[key];
    if (!isRight(field)) report(wrong([...path, key], expectedField, field));
    else if (inner !== undefined && field !== undefined)
      checkFields(field, [...path, key], [expectedField, inner], report);
  }
  return true;
}

/** Returns the problem of a wrong value. */
export function wrong(path: Problem['path'], expected: string, found: unknown): Problem {
  return { path, message: `expected ${expected}, found ${described(found)}` };
}

/** Also accepts `undefined`. */
export function optional(isRight: ValueCheck): ValueCheck {
  return (value) => value === undefined || isRight(value);
}

/** Accepts lists of values that are right. */
export function listOf(isRight: ValueCheck): ValueCheck {
  return (value) => Array.isArray(value) && value.every((one) => isRight(one));
}

/** Accepts these values. */
export function oneOf(...values: readonly unknown[]): ValueCheck {
  return (value) => values.includes(value);
}

/** Accepts integers from `min` to `max`. */
export function integer(min: number, max: number = Number.MAX_SAFE_INTEGER): ValueCheck {
  return (value) => Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max;
}

/** Accepts objects with these fields, whatever else they have. */
export function shape(fields: Readonly<Record<string, ValueCheck>>): ValueCheck {
  const entries = Object.entries(fields);
  return (value) => isRecord(value) && entries.every(([key, isRight]) => isRight(value[key]));
}

/** Whether a value is an object, and no list. */
export function isRecord(value: unknown): value is UnknownFields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether a value is a string. */
export function isString(value: unknown): value is string {
  return typeof value === 'string';
}

/** Whether a value is a string that is not empty. */
export function isFilled(value: unknown): value is string {
  return isString(value) && value !== '';
}

/** Whether a value is a boolean. */
export function isBoolean(value: unknown): boolean {
  return typeof value === 'boolean';
}

/** Whether a value is a finite number above 0. */
export function isPositive(value: unknown): boolean {
  return Number.isFinite(value) && Number(value) > 0;
}

function described(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'string') return value === '' ? 'an empty string' : quoted(value);
  if (typeof value === 'object' && value !== null) return value instanceof Date ? 'an invalid Date' : 'an object';
  return typeof value === 'function' ? 'a function' : String(value);
}

// Keeps a name of a megabyte out of the log.
const MAX_QUOTED_CHARS = 100;

/** Quotes a string for a message. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > MAX_QUOTED_CHARS ? `${text.slice(0, MAX_QUOTED_CHARS)}…` : text);
}
