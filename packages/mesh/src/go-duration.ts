/** Parses a duration in Go's notation: `1m30s`, `1.5s`, `.5s`, `0`. Returns milliseconds; `undefined` for anything else. */
export function goDurationMs(text: string): number | undefined {
  const [, sign, length = ''] = /^([+-]?)(0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)$/.exec(text) ?? [];
  if (sign === undefined) return undefined;
  const parts = Array.from(length.matchAll(/([\d.]+)(\D+)/g));
  const sum = parts.reduce((total, [, count, unit]) => total + Number(count) * (UNITS_MS[unit ?? ''] ?? 0), 0);
  return sign === '-' ? -sum : sum;
}

const UNITS_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};
