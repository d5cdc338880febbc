import type { Problem } from '@meshgate/core';
import { defined } from '@meshgate/core/parts';
import { compileChain } from '@meshgate/mesh';
import type { ConfigEntries, Destination, ServiceResolver } from '@meshgate/mesh';
import type { ConfigEntry, WrittenExport } from './entries.ts';
import { contradiction, problemWith } from './mesh-file.ts';

/** Entries by datacenter, named after the folders. */
export type EntriesByDatacenter = ReadonlyMap<string, readonly ConfigEntry[]>;

/** The entries that apply in one datacenter, and conflicts between them. */
export interface SeenEntries {
  readonly entries: ConfigEntries;
  /** Services exported to peers. */
  readonly exports: readonly WrittenExport[];
  /** Protocol of each service whose service-defaults set one. */
  readonly protocols: ReadonlyMap<string, string>;
  readonly problems: readonly Problem[];
  /** Entries that refer to undefined objects, or form a cycle. */
  readonly astray: readonly ConfigEntry[];
}

/**
 * Returns the entries that apply in a datacenter. Consul stores entries for all datacenters together, so an entry
 * applies everywhere, whichever folder has it. Of two entries for the same object, the one in the datacenter's own
 * folder applies there; two in other folders must be equal.
 */
export function entriesSeenFrom(datacenter: string, all: EntriesByDatacenter): SeenEntries {
  const own = all.get(datacenter) ?? [];
  const others = Array.from(all).flatMap(([name, entries]) => (name === datacenter ? [] : entries));
  const seen = new Map<string, ConfigEntry>();
  const problems: Problem[] = [];
  for (const entry of [...own, ...others]) {
    const first = seen.get(keyOf(entry));
    if (first === undefined) seen.set(keyOf(entry), entry);
    else if (!own.includes(first)) problems.push(...contradiction(keyOf(entry), entry.field, first.field));
  }
  const entries = together([...seen.values()]);
  const wrong = [...seen.values()].map((entry) => [entry, astray(entry, entries, datacenter)] as const);
  const inForce = [...seen.values()];
  return {
    entries,
    exports: inForce.flatMap((entry) => (entry.kind === 'exported-services' ? entry.value : [])),
    protocols: new Map(inForce.flatMap((entry) => protocolIn(entry))),
    problems: [...problems, ...wrong.flatMap(([, found]) => found)],
    astray: wrong.flatMap(([entry, found]) => (found.length > 0 ? [entry] : [])),
  };
}

/** Reports a resolver's references to undefined objects, which Consul rejects when an entry is written. */
function astray(entry: ConfigEntry, entries: ConfigEntries, datacenter: string): readonly Problem[] {
  if (entry.kind !== 'service-resolver') return [];
  const { name, field, value } = entry;
  const path = `${keyOf(entry)}: `;
  const undefinedSubsets = leadsOf(value).flatMap(([key, { service = name, subset, peer }]) => {
    const known = Object.keys(entries.resolvers.get(service)?.subsets ?? {});
    if (subset === undefined || peer !== undefined || known.includes(subset)) return [];
    const found = known.join(', ') || 'none';
    return [
      problemWith(field, `${path}${key}.ServiceSubset: expected a subset of ${service} (${found}), found "${subset}"`),
    ];
  });
  const chain = compileChain({ service: name, datacenter, decision: { kind: 'unset' } }, entries, { trustDomain: '' });
  const isCircle = chain.kind === 'refused' && chain.path.at(-1) === 'Redirect';
  return isCircle ? [...undefinedSubsets, problemWith(field, `${path}Redirect: ${chain.message}`)] : undefinedSubsets;
}

function protocolIn(entry: ConfigEntry): readonly (readonly [service: string, protocol: string])[] {
  return entry.kind === 'service-defaults' && entry.protocol !== undefined ? [[entry.name, entry.protocol]] : [];
}

function leadsOf({ redirect, failover }: ServiceResolver): readonly (readonly [key: string, to: Destination])[] {
  const failovers = Array.from(failover).flatMap(([subset, legs]) =>
    legs.map((leg) => [`Failover.${subset}`, leg] as const),
  );
  return redirect === undefined ? failovers : [['Redirect', redirect], ...failovers];
}

function keyOf({ kind, name }: ConfigEntry): string {
  return `${kind}/${name}`;
}

function together(entries: readonly ConfigEntry[]): ConfigEntries {
  const proxyDefaults = entries.find((entry) => entry.kind === 'proxy-defaults')?.value;
  const mesh = entries.find((entry) => entry.kind === 'mesh')?.value;
  return {
    ...defined({ proxyDefaults, mesh }),
    serviceDefaults: new Map(
      entries.flatMap((entry) => (entry.kind === 'service-defaults' ? [[entry.name, entry.value] as const] : [])),
    ),
    resolvers: new Map(
      entries.flatMap((entry) => (entry.kind === 'service-resolver' ? [[entry.name, entry.value] as const] : [])),
    ),
    intentions: entries.flatMap((entry) => (entry.kind === 'service-intentions' ? entry.value : [])),
  };
}
