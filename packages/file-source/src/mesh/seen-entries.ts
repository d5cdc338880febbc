import type { Problem } from '@meshgate/core';
import type { ConfigEntries } from '@meshgate/mesh';
import type { ConfigEntry } from './entries.ts';
import { placeOf } from './keys.ts';
import { problemWith } from './mesh-file.ts';
import { present } from './present.ts';

/** Entries by the datacenter in whose folder they stand. */
export type EntriesByDatacenter = ReadonlyMap<string, readonly ConfigEntry[]>;

/** The entries that hold in one datacenter, and what is wrong between them. */
export interface SeenEntries {
  readonly entries: ConfigEntries;
  readonly problems: readonly Problem[];
}

/**
 * Consul keeps entries for all datacenters together, so an entry holds everywhere, in whichever folder it stands. Of two for the
 * same thing the one in the datacenter's own folder holds there; two in other folders must be equal.
 */
export function entriesSeenFrom(datacenter: string, all: EntriesByDatacenter): SeenEntries {
  const own = all.get(datacenter) ?? [];
  const others = Array.from(all).flatMap(([name, entries]) => (name === datacenter ? [] : entries));
  const seen = new Map<string, ConfigEntry>();
  const problems: Problem[] = [];
  for (const entry of [...own, ...others]) {
    const first = seen.get(keyOf(entry));
    if (first === undefined) seen.set(keyOf(entry), entry);
    else if (!own.includes(first) || own.includes(entry)) problems.push(...contradiction(entry, first));
  }
  return { entries: together([...seen.values()]), problems };
}

function keyOf({ kind, name }: ConfigEntry): string {
  return `${kind}/${name}`;
}

function contradiction(entry: ConfigEntry, first: ConfigEntry): readonly Problem[] {
  if (JSON.stringify(entry.field.plain()) === JSON.stringify(first.field.plain())) return [];
  return [
    problemWith(entry.field, `${keyOf(entry)} is written already, with other content, at ${placeOf(first.field)}`),
  ];
}

function together(entries: readonly ConfigEntry[]): ConfigEntries {
  const proxyDefaults = entries.find((entry) => entry.kind === 'proxy-defaults')?.value;
  return {
    ...present({ proxyDefaults }),
    serviceDefaults: new Map(
      entries.flatMap((entry) => (entry.kind === 'service-defaults' ? [[entry.name, entry.value] as const] : [])),
    ),
    resolvers: new Map(
      entries.flatMap((entry) => (entry.kind === 'service-resolver' ? [[entry.name, entry.value] as const] : [])),
    ),
    intentions: entries.flatMap((entry) => (entry.kind === 'service-intentions' ? entry.value : [])),
  };
}
