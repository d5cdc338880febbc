import { type Field, type FieldEntry, MAX_TIMER_MS } from '@meshgate/documents';
import { goDurationMs, parseGatewayMode, type WrittenMode } from '@meshgate/mesh';
import { closestMatch } from 'leven';

/** Treatment of a key: read, or known to Consul but without effect here. */
type KeyUse = 'read' | 'ignored';

/** Returns a part of a table of keys: those that are read. */
export function read<Key extends string>(...keys: readonly Key[]): Readonly<Record<Key, 'read'>> {
  return used(keys, 'read');
}

/** Returns a part of a table of keys: those without effect. */
export function ignored<Key extends string>(...keys: readonly Key[]): Readonly<Record<Key, 'ignored'>> {
  return used(keys, 'ignored');
}

function used<Key extends string, Use extends KeyUse>(keys: readonly Key[], use: Use): Readonly<Record<Key, Use>> {
  return Object.fromEntries(keys.map((key) => [key, use])) as Record<Key, Use>;
}

/**
 * The fields of a mapping, by the name of the key in this project. Omits keys that are missing in the source, or
 * `null`.
 */
export type Keyed<Key extends string> = ReadonlyMap<Key, Field>;

/**
 * Reads a mapping whose keys have any spelling that Consul's commands accept: `mesh_gateway`, `MeshGateway`,
 * `meshGateway`. A list of one mapping counts as that mapping, as in Consul.
 *
 * Skips other keys that `isForeign` accepts. Any remaining key is a problem. Without `isForeign`, other keys may exist:
 * a likely typing error is a problem, and a key of a newer Consul release is a warning.
 *
 * @param keys keys to read, in snake case
 * @param isForeign accepts keys that belong to other software; absent when these are not known
 */
export function readKeys<Key extends string>(
  field: Field,
  keys: Readonly<Record<Key, KeyUse>>,
  isForeign?: (entry: FieldEntry) => boolean,
): Keyed<Key> {
  const names = new Map(Object.keys(keys).map((key) => [folded(key), key as Key]));
  const found = new Map<Key, Field>();
  const spellings = new Map<Key, string>();
  for (const entry of only(field).entries() ?? []) {
    const key = names.get(folded(entry.key));
    if (key === undefined) {
      if (isForeign?.(entry) !== true) unknownKey(entry, Object.keys(keys), isForeign === undefined);
      continue;
    }
    const earlier = spellings.get(key);
    spellings.set(key, entry.key);
    if (earlier === undefined && keys[key] === 'read' && entry.value.shape !== 'nothing') found.set(key, entry.value);
    // The parser has already reported a repetition in the same spelling.
    if (earlier !== undefined && earlier !== entry.key)
      entry.value.refuse('this key is already set above, in another spelling');
  }
  return found;
}

/** Returns the items of a list, or a single item that is written without brackets. */
export function itemsOf(field: Field | undefined): readonly Field[] {
  if (field === undefined) return [];
  return field.shape === 'mapping' ? [field] : (field.list() ?? []);
}

/** Returns the entries of a mapping whose keys the operator chooses. Merges several blocks into one mapping. */
export function namedValues(field: Field | undefined): readonly FieldEntry[] {
  return itemsOf(field).flatMap((part) => part.entries() ?? []);
}

/** Reads strings by keys that the operator chooses. */
export function strings(field: Field | undefined): Readonly<Record<string, string>> {
  const entries = namedValues(field).map(({ key, value }) => [key, value.string()] as const);
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => entry[1] !== undefined));
}

/** Reads a list of strings, or a single string as a list of one. */
export function textList(field: Field | undefined): readonly string[] {
  if (field?.shape === 'scalar') return [field.text() ?? ''];
  return (field?.list() ?? []).map((item) => item.text() ?? '');
}

/** Reads tags, of which one may be empty, as in Consul. A single string is a list of one. */
export function readTags(field: Field | undefined): readonly string[] {
  const items = field?.shape === 'scalar' ? [field] : (field?.list() ?? []);
  return items.map((item) => item.string() ?? '');
}

/** Reads a string; `undefined` for an empty one, which counts as not set. */
export function optionalText(field: Field | undefined): string | undefined {
  return field?.string() || undefined;
}

/** Reads a boolean in the forms that Consul accepts in configuration entries: `true`, `"true"`, `1`, `"F"`. */
export function weakBoolean(field: Field | undefined): boolean | undefined {
  const written = field?.plain();
  if (typeof written === 'number') return written !== 0;
  if (typeof written !== 'string') return field?.boolean();
  if (/^(?:1|[tT]|true|TRUE|True)$/.test(written)) return true;
  return /^(?:0|[fF]|false|FALSE|False)?$/.test(written) ? false : field?.boolean();
}

/** Reads an integer of opaque settings, which may also be a string such as `"8443"`, as in Consul. */
export function weakInteger(field: Field | undefined, max: number): number | undefined {
  const written = field?.plain();
  const value = typeof written === 'string' && /^-?\d+$/.test(written) ? Number(written) : undefined;
  return value !== undefined && value >= 0 && value <= max ? value : field?.integer(0, max);
}

/** Reads the required name in the mapping `of`. Returns `''` and records a problem when it is missing. */
export function requiredName(of: Field, name: Field | undefined): string {
  if (name === undefined) of.refuse('expected the key "name", found none');
  return name?.text() ?? '';
}

/** Rejects names that only Consul Enterprise has; the community edition has only `default`. */
export function refuseEnterprise(keys: ReadonlyMap<string, Field>, ...names: readonly string[]): void {
  for (const name of names) {
    const value = optionalText(keys.get(name));
    if (value === undefined || value === 'default') continue;
    keys.get(name)?.refuse(`expected default or nothing, found ${JSON.stringify(value)}: mesh files have one ${name}`);
  }
}

/** Reads `mesh_gateway { mode = … }`. */
export function readMode(field: Field | undefined): WrittenMode | undefined {
  const mode = field && readKeys(field, read('mode')).get('mode');
  const value = mode?.string();
  if (mode === undefined || value === undefined) return undefined;
  const parsed = parseGatewayMode(value);
  if (parsed.kind === 'unknown') mode.refuse(parsed.message);
  return parsed.kind === 'mode' ? { value, object: mode.position } : undefined;
}

/**
 * Reads a duration in Go's notation (`1m30s`, `1.5s`, `.5s`) or in nanoseconds. Returns milliseconds; `undefined` for
 * 0, which means not set. Less than a millisecond is a problem, since `15` is hardly meant as 15 ns.
 */
export function durationMs(field: Field | undefined): number | undefined {
  const written = field?.plain();
  if (field === undefined || written === '') return undefined;
  const lengthMs = typeof written === 'number' ? written / NANOSECONDS_A_MS : goDurationMs(String(written));
  if (lengthMs === 0) return undefined;
  if (lengthMs === undefined) return field.expected('a duration such as 500ms, 5s or 1m30s');
  if (lengthMs >= 1 && lengthMs <= MAX_TIMER_MS) return lengthMs;
  const unit = typeof written === 'number' ? ', which counts nanoseconds' : '';
  return field.refuse(`expected a duration from 1ms to ${MAX_TIMER_HOURS}h, found ${String(written)}${unit}`);
}

const NANOSECONDS_A_MS = 1e6;
const MAX_TIMER_HOURS = Math.floor(MAX_TIMER_MS / 3_600_000);

function only(field: Field): Field {
  const [item, ...others] = field.shape === 'list' ? (field.list() ?? []) : [field];
  return item !== undefined && others.length === 0 ? item : field;
}

/** Returns the values of a mapping by their {@link folded} keys. */
export function foldedValues(mapping: Field): ReadonlyMap<string, Field> {
  return new Map((mapping.entries() ?? []).map(({ key, value }) => [folded(key), value]));
}

/** Returns the form in which keys are compared: `mesh_gateway` and `MeshGateway` are equal. */
export function folded(key: string): string {
  return key.replaceAll('_', '').toLowerCase();
}

/** Reports an unknown key. The hint has the spelling of the file. */
function unknownKey(entry: FieldEntry, known: readonly string[], mayBeNewer: boolean): void {
  const names = /^[A-Z]/.test(entry.key) ? known.map(camel) : known;
  if (mayBeNewer && !isSlip(entry.key, names)) entry.value.warn('unknown key, has no effect', entry.at);
  else entry.value.unknown(entry, names);
}

/** Whether a key is probably a typing error: at most two letters differ, or a third of a longer word. */
function isSlip(key: string, names: readonly string[]): boolean {
  const maxDistance = Math.max(2, Math.floor(key.length / 3));
  return closestMatch(key, names, { maxDistance }) !== undefined;
}

function camel(key: string): string {
  return key.replace(/(?:^|_)([a-z])/g, (_all, letter: string) => letter.toUpperCase());
}
