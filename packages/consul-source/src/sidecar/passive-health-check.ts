import type { PassiveHealthCheck } from '@meshgate/mesh';
import { object } from '../json.ts';
import { durationMs } from '../records.ts';

/** Parses `PassiveHealthCheck`, in the spelling of entries or in snake case, as in an upstream's settings. */
export function passiveHealthCheckIn(json: unknown): { readonly passiveHealthCheck?: PassiveHealthCheck } {
  const written = object(json);
  if (written === undefined) return {};
  const of = (name: string, snake: string): unknown => written[name] ?? written[snake];
  const count = (value: unknown, least: number): number | undefined =>
    typeof value === 'number' && value >= least ? Math.trunc(value) : undefined;
  const length = (value: unknown): number | undefined => {
    const ms = durationMs(value) ?? 0;
    return ms < 1 ? undefined : ms;
  };
  const percent = (value: unknown): number | undefined => {
    const found = count(value, 0);
    return found === undefined ? undefined : Math.min(found, 100);
  };
  const settings = {
    maxFailures: count(of('MaxFailures', 'max_failures'), 1),
    intervalMs: length(of('Interval', 'interval')),
    enforcingPercent: percent(of('EnforcingConsecutive5xx', 'enforcing_consecutive_5xx')),
    maxEjectionPercent: percent(of('MaxEjectionPercent', 'max_ejection_percent')),
    baseEjectionMs: length(of('BaseEjectionTime', 'base_ejection_time')),
  };
  const set = Object.entries(settings).filter(([, value]) => value !== undefined);
  return set.length === 0 ? {} : { passiveHealthCheck: Object.fromEntries(set) };
}
