import { DURATION_FORM, MAX_TIMER_MS, parseDuration } from './duration.ts';
import type { Parsed } from './field.ts';

/** Parses a time above 0 in the range of a timer. Returns milliseconds. */
export function parseTimeout(text: string): Parsed<number> {
  const timeoutMs = parseDuration(text) ?? 0;
  if (timeoutMs > 0 && timeoutMs <= MAX_TIMER_MS) return { kind: 'value', value: timeoutMs };
  return { kind: 'refused', expected: `${DURATION_FORM}, from 1ms to ${MAX_TIMER_MS}ms` };
}
