import type { Parsed } from './field.ts';

/** Format of a duration, for error messages: `expected ${DURATION_FORM}, found …`. */
export const DURATION_FORM = 'a duration such as 500ms, 2s, 1m or 1h';

/**
 * Parses a whole number with its unit: `500ms`, `2s`, `1m`, `1h`. The unit is required, because a bare number could
 * mean seconds or milliseconds.
 *
 * @returns milliseconds, 0 or more; `undefined` when `text` is not a duration
 */
export function parseDuration(text: string): number | undefined {
  // At most nine digits: in the largest unit, the product is still an exact integer.
  const match = /^(\d{1,9})(ms|s|m|h)$/.exec(text);
  const unitMs = UNITS_MS[match?.[2] ?? ''];
  return unitMs === undefined ? undefined : Number(match?.[1]) * unitMs;
}

/** Longest time of a timer: a signed 32-bit number of milliseconds, 24 days. */
export const MAX_TIMER_MS: number = 2 ** 31 - 1;

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** Parses a time above 0 in the range of a timer. Returns milliseconds. */
export function parseTimeout(text: string): Parsed<number> {
  const timeoutMs = parseDuration(text) ?? 0;
  if (timeoutMs > 0 && timeoutMs <= MAX_TIMER_MS) return { kind: 'value', value: timeoutMs };
  return { kind: 'refused', expected: `${DURATION_FORM}, from 1ms to ${MAX_TIMER_MS}ms` };
}

/** Parses the setting `poll` of a source that follows files: a duration, or `0s` for never. Returns milliseconds. */
export function parsePoll(text: string): Parsed<number> {
  const pollMs = parseDuration(text);
  if (pollMs !== undefined && pollMs <= MAX_TIMER_MS) return { kind: 'value', value: pollMs };
  return { kind: 'refused', expected: `${DURATION_FORM}, or 0s for never` };
}
