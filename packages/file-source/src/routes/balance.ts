import type { BuiltInBalance, Route } from '@meshgate/core';
import { defined } from '@meshgate/core/parts';
import type { Field } from '@meshgate/documents';
import { readPartUse } from './part-use.ts';

/** Values of `balance`, apart from balances of plugins. */
export const BALANCES: readonly BuiltInBalance[] = [
  'round_robin',
  'least_connections',
  'random',
  'client_hash',
  'name_hash',
];

/** Reads a built-in balance by its name, or a mapping that names a plugin's balance. */
export function readBalance(field: Field | undefined): Pick<Route, 'balance'> {
  const balance = field?.shape === 'mapping' ? readPartUse(field) : field?.oneOf(BALANCES);
  return defined({ balance });
}
