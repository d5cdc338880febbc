import type { Rate } from '@meshgate/core';

/** Format of a rate, for error messages: `expected ${RATE_FORM}, found …`. */
export const RATE_FORM = 'a rate such as 100/s, 30/m or 500/h';

/**
 * Parses a count per unit of time: `100/s`, `30/m`, `500/h`.
 *
 * @returns `undefined` when `text` is not such a rate
 */
export function parseRate(text: string): Rate | undefined {
  const match = /^([1-9]\d{0,8})\/(s|m|h)$/.exec(text);
  const perMs = UNITS_MS[match?.[2] ?? ''];
  return perMs === undefined ? undefined : { count: Number(match?.[1]), perMs };
}

const UNITS_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };
