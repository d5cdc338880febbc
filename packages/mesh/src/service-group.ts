import type { Problem } from '@meshgate/core';
import type { CatalogService, Instance, Selection } from './catalog.ts';

/** The instances behind one name of a service. */
export interface ServiceGroup {
  readonly instances: readonly Instance[];
  readonly onlyPassing: boolean;
  readonly rule: string;
  /** Why the instances cannot be selected; absent otherwise. */
  readonly refused?: string;
  readonly problems: readonly Problem[];
}

/** Selects the instances in `subset` of a service; for `undefined`, those of the default subset, or all. */
export function groupOf(service: CatalogService, subset: string | undefined): ServiceGroup {
  const name = subset ?? service.resolver?.defaultSubset;
  if (name === undefined || name === '') return allInstances(service);
  const { subsets = {} } = service.resolver ?? {};
  // Operators choose subset names: `constructor` must not match a property inherited from `Object`.
  const definition = Object.hasOwn(subsets, name) ? subsets[name] : undefined;
  if (definition === undefined) return withoutDefaultSubset(service, name);
  const rule = `${subset === undefined ? 'default subset' : 'subset'} ${name}: ${definition.filter || 'no filter'}`;
  const group = { ...selected(service.selections[name]), onlyPassing: definition.onlyPassing, rule };
  if (group.refused === undefined || subset === undefined) return { ...group, problems: [] };
  const path = ['service-resolver', service.name, 'Subsets', name, 'Filter'];
  return { ...group, problems: [{ path, message: `Consul rejects this filter: ${group.refused}` }] };
}

function allInstances({ instances }: CatalogService): ServiceGroup {
  return { instances, onlyPassing: false, rule: 'all Connect instances', problems: [] };
}

/** Consul validates `DefaultSubset` when the entry is written; a mesh file may still name an undefined subset. */
function withoutDefaultSubset(service: CatalogService, name: string): ServiceGroup {
  const path = ['service-resolver', service.name, 'DefaultSubset'];
  const known = Object.keys(service.resolver?.subsets ?? {}).join(', ') || 'none';
  const message = `expected one of the subsets (${known}), found ${name}`;
  return {
    instances: [],
    onlyPassing: false,
    rule: `default subset ${name} is not defined`,
    problems: [{ path, message }],
  };
}

function selected(selection: Selection | undefined): {
  readonly instances: readonly Instance[];
  readonly refused?: string;
} {
  if (selection === undefined) return { instances: [], refused: 'no response yet' };
  if (selection.kind === 'refused') return { instances: [], refused: selection.reason };
  return { instances: selection.instances };
}
