import type { HealthCheck, Route } from '@meshgate/core';
import { defined } from '@meshgate/core/parts';
import type { Field, Parsed } from './field.ts';
import { parseTimeout } from './duration.ts';

/** Keys of `healthCheck`. */
export const HEALTH_CHECK_KEYS = {
  kind: 'optional',
  interval: 'optional',
  timeout: 'optional',
  rise: 'optional',
  fall: 'optional',
  serverName: 'optional',
  slowStart: 'optional',
  whenAllDown: 'optional',
} as const;

/** Interval and timeout are HAProxy's defaults, within the limits of a connect timeout. */
const DEFAULTS: HealthCheck = { kind: 'tcp', intervalMs: 5_000, timeoutMs: 2_000, rise: 2, fall: 3 };
/** Highest number of consecutive checks. */
const MAX_CHECKS = 1_000;

/**
 * Reads the health check of a route's backends; `{}` when there is none.
 *
 * @param parseName parses the server name of a check of kind `tls`
 */
export function readHealthCheck(
  field: Field | undefined,
  parseName: (text: string) => Parsed<string>,
): Pick<Route, 'healthCheck'> {
  const fields = field?.record(HEALTH_CHECK_KEYS);
  if (fields === undefined) return {};
  const kind = fields.get('kind')?.oneOf(['tcp', 'tls']) ?? DEFAULTS.kind;
  const serverName = fields.get('serverName');
  if (serverName !== undefined && kind === 'tcp') serverName.refuse('only checks of kind: tls send a server name');
  const healthCheck: HealthCheck = {
    kind,
    intervalMs: fields.get('interval')?.parsed(parseTimeout) ?? DEFAULTS.intervalMs,
    timeoutMs: fields.get('timeout')?.parsed(parseTimeout) ?? DEFAULTS.timeoutMs,
    rise: fields.get('rise')?.integer(1, MAX_CHECKS) ?? DEFAULTS.rise,
    fall: fields.get('fall')?.integer(1, MAX_CHECKS) ?? DEFAULTS.fall,
    ...defined({
      serverName: serverName?.parsed(parseName),
      slowStartMs: fields.get('slowStart')?.parsed(parseTimeout),
      whenAllDown: fields.get('whenAllDown')?.oneOf(['try', 'refuse'] as const),
    }),
  };
  return { healthCheck };
}
