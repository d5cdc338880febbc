import { parseGatewayMode, type WrittenMode } from '@meshgate/mesh';
import type { Field, FieldEntry } from '../field.ts';

/** What is done with a key: read, or known to Consul and of no effect here. */
export type KeyUse = 'read' | 'ignored';

/** The keys of a mapping that are read, by their names here. A key of the result is absent when the text has it not, or has `null`. */
export type Keyed<Key extends string> = ReadonlyMap<Key, Field>;

/**
 * Reads a mapping whose keys may be written as Consul's commands take them: `mesh_gateway`, `MeshGateway`, `meshGateway`. Any other
 * key is a problem. A list of one mapping is taken for the mapping, as Consul does.
 *
 * @param keys in snake case
 */
export function readKeys<Key extends string>(field: Field, keys: Readonly<Record<Key, KeyUse>>): Keyed<Key> {
  const names = new Map(Object.keys(keys).map((key) => [folded(key), key as Key]));
  const found = new Map<Key, Field>();
  for (const entry of only(field).entries() ?? []) {
    const key = names.get(folded(entry.key));
    if (key === undefined) unknownKey(entry, Object.keys(keys));
    else if (found.has(key)) entry.value.refuse('this key is already set above, in another spelling');
    else if (keys[key] === 'read' && entry.value.shape !== 'nothing') found.set(key, entry.value);
  }
  return found;
}

/** A list, or the one item of which a list may consist, written without brackets. */
export function itemsOf(field: Field | undefined): readonly Field[] {
  if (field === undefined) return [];
  return field.shape === 'mapping' ? [field] : (field.list() ?? []);
}

/** The values of a mapping by names that the operator chose. Several blocks are one mapping. */
export function namedValues(field: Field | undefined): readonly FieldEntry[] {
  return itemsOf(field).flatMap((part) => part.entries() ?? []);
}

/** Texts by names that the operator chose. */
export function texts(field: Field | undefined): Readonly<Record<string, string>> {
  const entries = namedValues(field).map(({ key, value }) => [key, value.string()] as const);
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => entry[1] !== undefined));
}

/** A list of texts; one text is a list of it. */
export function textList(field: Field | undefined): readonly string[] {
  if (field?.shape === 'scalar') return [field.text() ?? ''];
  return (field?.list() ?? []).map((item) => item.text() ?? '');
}

/** A text that may be empty, which is the same as leaving it out; `undefined` then. */
export function optionalText(field: Field | undefined): string | undefined {
  return field?.string() || undefined;
}

/** The name that the mapping `of` must have; empty, and a problem, when it has none. */
export function requiredName(of: Field, name: Field | undefined): string {
  if (name === undefined) of.refuse('expected the key "name", found none');
  return name?.text() ?? '';
}

/** A name in Consul Enterprise's scheme: only the default one exists without it. */
export function refuseEnterprise(keys: ReadonlyMap<string, Field>, ...names: readonly string[]): void {
  for (const name of names) {
    const value = optionalText(keys.get(name));
    if (value === undefined || value === 'default') continue;
    keys.get(name)?.refuse(`expected default or nothing, found ${JSON.stringify(value)}: mesh files have one ${name}`);
  }
}

/** `mesh_gateway { mode = … }`. */
export function readMode(field: Field | undefined): WrittenMode | undefined {
  const mode = field && readKeys(field, { mode: 'read' }).get('mode');
  const value = mode?.string();
  if (mode === undefined || value === undefined) return undefined;
  const parsed = parseGatewayMode(value);
  if (parsed.kind === 'unknown') mode.refuse(parsed.message);
  return parsed.kind === 'mode' ? { value, object: placeOf(mode) } : undefined;
}

/** Where a value stands, for people. */
export function placeOf({ at, path }: Field): string {
  return at === undefined ? path.join('.') : `${at.file}:${at.line}:${at.column}`;
}

/** A duration as Go reads and writes it: `1m30s`, `1.5s`, or a number of nanoseconds. In milliseconds, above 0. */
export function durationMs(field: Field | undefined): number | undefined {
  const written = field?.plain();
  if (field === undefined || written === '' || written === 0) return undefined;
  const lengthMs = typeof written === 'number' ? written / NANOSECONDS_A_MS : goDurationMs(String(written));
  if (lengthMs === undefined) return field.expected('a duration such as 500ms, 5s or 1m30s');
  return lengthMs > 0 ? lengthMs : undefined;
}

const NANOSECONDS_A_MS = 1e6;

function goDurationMs(text: string): number | undefined {
  if (!/^(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+$/.test(text)) return undefined;
  const parts = Array.from(text.matchAll(/([\d.]+)(\D+)/g));
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * (UNITS_MS[unit ?? ''] ?? 0), 0);
}

const UNITS_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};

function only(field: Field): Field {
  const [item, ...others] = field.shape === 'list' ? (field.list() ?? []) : [field];
  return item !== undefined && others.length === 0 ? item : field;
}

function folded(key: string): string {
  return key.replaceAll('_', '').toLowerCase();
}

/** The hint is in the spelling of the writer. */
function unknownKey(entry: FieldEntry, known: readonly string[]): void {
  const isCamel = /^[A-Z]/.test(entry.key);
  entry.value.unknown(entry, isCamel ? known.map(camel) : known);
}

function camel(key: string): string {
  return key.replace(/(?:^|_)([a-z])/g, (_all, letter: string) => letter.toUpperCase());
}
