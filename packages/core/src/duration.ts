/**
 * Formats a duration for people, with three significant digits and a unit: `2499.97` becomes `2.5 s`, `40` becomes `40
 * ms`, `300000` becomes `5 min`.
 *
 * @param ms milliseconds, 0 or more
 */
export function formatDuration(ms: number): string {
  const unit = UNITS.find(({ lengthMs }) => rounded(ms / lengthMs) >= 1) ?? MILLISECOND;
  return `${rounded(ms / unit.lengthMs)} ${unit.symbol}`;
}

const MILLISECOND = { lengthMs: 1, symbol: 'ms' };

/** Largest first. */
const UNITS = [
  { lengthMs: 3_600_000, symbol: 'h' },
  { lengthMs: 60_000, symbol: 'min' },
  { lengthMs: 1_000, symbol: 's' },
  MILLISECOND,
];

function rounded(value: number): number {
  return Number(value.toPrecision(3));
}
