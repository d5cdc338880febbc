import type { Field } from '@meshgate/documents';
import type { Check, CheckStatus } from '@meshgate/mesh';
import { foldedValues, itemsOf, optionalText } from './keys.ts';

/** A check in mesh files. Nothing runs it: its status is the one in the file. */
export interface WrittenCheck extends Check {
  /** Name of the check in filters (`Checks.Name`). */
  readonly name: string;
  /** Free text, also for filters (`Checks.Notes`). */
  readonly notes: string;
}

/** A check at the top level of a file, beside service definitions. */
export interface LooseCheck {
  readonly field: Field;
  /** Id of the service to which the check applies. Empty for a check of the node, which mesh files do not have. */
  readonly serviceId: string;
  readonly check: WrittenCheck;
}

/**
 * Reads the checks of one service.
 *
 * @param fields `check` and `checks` of its definition, where present
 */
export function readChecks(fields: readonly (Field | undefined)[], serviceId: string): readonly WrittenCheck[] {
  return fields.flatMap(itemsOf).map((field, index) => readCheck(field, `service:${serviceId}:${index + 1}`));
}

/** Reads the checks at the top level of a file. */
export function readLooseChecks(fields: readonly (Field | undefined)[]): readonly LooseCheck[] {
  return fields.flatMap(itemsOf).map((field) => {
    const serviceId = optionalText(foldedValues(field).get('serviceid')) ?? '';
    if (serviceId === '') field.warn('this check has no effect: it names no service_id, and mesh files have no nodes');
    return { field, serviceId, check: readCheck(field, `service:${serviceId}`) };
  });
}

/** Reads only the keys in use, since the agent runs the check. */
function readCheck(field: Field, defaultId: string): WrittenCheck {
  const keys = foldedValues(field);
  const name = optionalText(keys.get('name'));
  const id = optionalText(keys.get('id') ?? keys.get('checkid')) ?? name ?? defaultId;
  const status = keys.get('status');
  return {
    id,
    name: name ?? id,
    notes: optionalText(keys.get('notes')) ?? '',
    status: (status && readStatus(status)) ?? 'passing',
  };
}

function readStatus(status: Field): CheckStatus | undefined {
  if (optionalText(status) === undefined) return undefined;
  return status.oneOf(['passing', 'warning', 'critical'] as const);
}
