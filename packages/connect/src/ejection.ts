import { DEFAULT_OUTLIERS, formatDuration } from '@meshgate/core/parts';
import type { OutlierOptions } from '@meshgate/core/parts';
import type { PassiveHealthCheck } from '@meshgate/mesh';

/** Converts `PassiveHealthCheck` to ejection settings for dials; an absent field gets its default. */
export function ejectionBy(check: PassiveHealthCheck): OutlierOptions {
  const { maxFailures, intervalMs, enforcingPercent, maxEjectionPercent, baseEjectionMs } = check;
  const { consecutiveFailures, baseEjectionMs: usualMs, maxEjectionMs } = DEFAULT_OUTLIERS;
  const baseMs = baseEjectionMs ?? usualMs;
  return {
    consecutiveFailures: maxFailures ?? consecutiveFailures,
    baseEjectionMs: baseMs,
    // As in Envoy: an ejection is never shorter than its base.
    maxEjectionMs: Math.max(maxEjectionMs, baseMs),
    ...(intervalMs === undefined ? {} : { stepMs: intervalMs }),
    ...(enforcingPercent === undefined ? {} : { enforced: enforcingPercent / 100 }),
    ...(maxEjectionPercent === undefined ? {} : { maxEjected: maxEjectionPercent / 100 }),
  };
}

/** Describes the ejection in one line: `after 2 failed dials in a row, for 30 s`. */
export function describeEjection(check: PassiveHealthCheck): string {
  const { consecutiveFailures, baseEjectionMs, enforced = 1, maxEjected } = ejectionBy(check);
  if (enforced === 0) return 'never: EnforcingConsecutive5xx is 0';
  const most =
    maxEjected === undefined ? '' : `, at most ${Math.round(maxEjected * 100)} % of the addresses but always one`;
  const chance = enforced === 1 ? '' : `, in ${Math.round(enforced * 100)} % of the cases`;
  return `after ${consecutiveFailures} failed dials in a row, for ${formatDuration(baseEjectionMs)}${chance}${most}`;
}
