import { DURATION_FORM, MAX_TIMER_MS, parseDuration } from './duration.ts';
import type { Parsed } from './field.ts';

/** Parses the setting `poll` of a source that follows files: a duration, or `0s` for never. Returns milliseconds. */
export function parsePoll(text: string): Parsed<number> {
  const pollMs = parseDuration(text);
  if (pollMs !== undefined && pollMs <= MAX_TIMER_MS) return { kind: 'value', value: pollMs };
  return { kind: 'refused', expected: `${DURATION_FORM}, or 0s for never` };
}
