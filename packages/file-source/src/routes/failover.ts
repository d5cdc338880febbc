import type { Route } from '@meshgate/core';
import { defined } from '@meshgate/core/parts';
import { type Field, parseTimeout } from '@meshgate/documents';

/** Keys of `failover`. */
export const FAILOVER_KEYS = { minHealthy: 'optional', returnAfter: 'optional' } as const;

const MAX_BACKENDS = 65_535;

/** Reads the conditions on which backups take over. */
export function readFailover(field: Field | undefined): Pick<Route, 'failover'> {
  const fields = field?.record(FAILOVER_KEYS);
  if (fields === undefined) return {};
  const minHealthy = fields.get('minHealthy')?.integer(1, MAX_BACKENDS) ?? 1;
  const returnAfterMs = fields.get('returnAfter')?.parsed(parseTimeout);
  return { failover: { minHealthy, ...defined({ returnAfterMs }) } };
}
