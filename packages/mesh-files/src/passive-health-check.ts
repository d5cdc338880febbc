import { defined } from '@meshgate/core/parts';
import type { Field } from '@meshgate/documents';
import type { PassiveHealthCheck } from '@meshgate/mesh';
import { durationMs, read, readKeys, weakInteger } from './keys.ts';

const KEYS = {
  ...read('interval', 'max_failures', 'enforcing_consecutive_5xx', 'max_ejection_percent'),
  ...read('base_ejection_time'),
};

/** Reads `passive_health_check { … }` of an entry, or of an upstream's own settings. A count of 0 counts as not set. */
export function readPassiveHealthCheck(field: Field | undefined): PassiveHealthCheck | undefined {
  if (field === undefined) return undefined;
  const fields = readKeys(field, KEYS);
  return defined({
    intervalMs: durationMs(fields.get('interval')),
    maxFailures: weakInteger(fields.get('max_failures'), MAX_COUNT) || undefined,
    enforcingPercent: weakInteger(fields.get('enforcing_consecutive_5xx'), 100),
    maxEjectionPercent: weakInteger(fields.get('max_ejection_percent'), 100),
    baseEjectionMs: durationMs(fields.get('base_ejection_time')),
  });
}

const MAX_COUNT = 2_147_483_647;
