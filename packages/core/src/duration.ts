/**
 * A duration for people to read: three significant digits and a unit. `2499.97` is `2.5 s`, `40` is `40 ms`, `300000` is `5 min`.
 *
 * @param ms milliseconds, not negative
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
