import type { BuiltInBalance, Route } from '@meshgate/core';
import type { Field } from '@meshgate/documents';
import { readPartUse } from './part-use.ts';

/** Values of `balance`, besides the balances of plugins. */
export const BALANCES: readonly BuiltInBalance[] = [
  'round_robin',
  'least_connections',
  'random',
  'client_hash',
  'name_hash',
];

/** A built-in balance by its name, or a mapping that names one of a plugin. */
export function readBalance(field: Field | undefined): Pick<Route, 'balance'> {
  const balance = field?.shape === 'mapping' ? readPartUse(field) : field?.oneOf(BALANCES);
  return balance === undefined ? {} : { balance };
}
