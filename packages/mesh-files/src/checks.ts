import type { Field } from '@meshgate/documents';
import type { Check, CheckStatus } from '@meshgate/mesh';
import { itemsOf, optionalText } from './keys.ts';

/** A check as far as mesh files go: nobody runs it, so its `status` is what somebody writes there. */
export interface WrittenCheck extends Check {
  /** As a filter sees it (`Checks.Name`). */
  readonly name: string;
  /** For people, and for filters (`Checks.Notes`). */
  readonly notes: string;
}

/** A check that stands beside service definitions, at the top of a file. */
export interface LooseCheck {
  readonly field: Field;
  /** Id of the service of which it says something. Empty: of its node, which mesh files do not have. */
  readonly serviceId: string;
  readonly check: WrittenCheck;
}

/**
 * The checks of one service.
 *
 * @param fields `check` and `checks` of its definition, where it has them
 */
export function readChecks(fields: readonly (Field | undefined)[], serviceId: string): readonly WrittenCheck[] {
  return fields.flatMap(itemsOf).map((field, index) => readCheck(field, `service:${serviceId}:${index + 1}`));
}

/** The checks at the top of a file. */
export function readLooseChecks(fields: readonly (Field | undefined)[]): readonly LooseCheck[] {
  return fields.flatMap(itemsOf).map((field) => {
    const serviceId = optionalText(keysOf(field).get('serviceid')) ?? '';
    if (serviceId === '') field.warn('this check has no effect: it names no service_id, and mesh files have no nodes');
    return { field, serviceId, check: readCheck(field, `service:${serviceId}`) };
  });
}

function readCheck(field: Field, defaultId: string): WrittenCheck {
  const keys = keysOf(field);
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

/** How a check is run is its agent's business: only keys that are of use here are looked at. */
function keysOf(field: Field): ReadonlyMap<string, Field> {
  return new Map((field.entries() ?? []).map(({ key, value }) => [key.toLowerCase().replaceAll('_', ''), value]));
}

function readStatus(status: Field): CheckStatus | undefined {
  if (optionalText(status) === undefined) return undefined;
  return status.oneOf(['passing', 'warning', 'critical'] as const);
}
