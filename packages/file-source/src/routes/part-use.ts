import type { PartUse, Route } from '@meshgate/core';
import type { Field } from '@meshgate/documents';

/** Reads the use of a plugin's part: its name, and its settings. */
export function readPartUse(field: Field): PartUse | undefined {
  const entries = field.entries();
  if (entries === undefined) return undefined;
  const named = entries.find(({ key }) => key === 'name');
  const name = named === undefined ? field.refuse('expected the key "name", found none') : named.value.text();
  if (name === undefined) return undefined;
  const settings = entries.filter(({ key }) => key !== 'name').map(({ key, value }) => [key, value.plain()] as const);
  return { name, settings: Object.fromEntries(settings), ...(field.at !== undefined && { at: field.at }) };
}

/** Reads the layers of a route. */
export function readUse(field: Field | undefined): Pick<Route, 'use'> {
  const list = field?.list();
  return list === undefined ? {} : { use: list.flatMap((entry) => readPartUse(entry) ?? []) };
}
