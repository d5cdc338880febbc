import type { Problem } from '@meshgate/core';
import type { Field } from '@meshgate/documents';
import { contradiction, type MeshFile, problemWith } from './mesh-file.ts';

/** The files of each datacenter, with only those definitions that are in effect. */
export type FilesInForce = ReadonlyMap<string, readonly MeshFile[]>;

/** The files of one reading. */
export interface MeshReading {
  readonly files: FilesInForce;
  /** Whether a file could not be read, so that its definitions are unknown. */
  readonly isBroken: boolean;
  /** Definitions to reject, because they refer to undefined objects. */
  readonly unusable?: ReadonlySet<object>;
}

/** The definitions in effect after a reading. */
export interface MeshInForce {
  readonly files: FilesInForce;
  /** Problems of definitions that contradict each other. */
  readonly problems: readonly Problem[];
  /** Deleted definitions that remain in effect, for log and status. */
  readonly kept: readonly string[];
}

/**
 * Decides which definitions are in effect. A file with problems keeps its last good version; all other files apply as
 * they are. While any file has a problem, no definition is removed: one that is gone from a file may have moved to the
 * unreadable one. Of two definitions of the same object, the one in effect remains; else the first one wins. Pure, in
 * steps.
 *
 * @param last the definitions that were in effect before; none at the first reading
 */
export function* settle(
  { files, isBroken, unusable }: MeshReading,
  last: FilesInForce = new Map(),
): Generator<void, MeshInForce> {
  const broken = new Set(Array.from(files.values()).flatMap((list) => list.flatMap(fileWithProblems)));
  const applied: (readonly [datacenter: string, AppliedDatacenter])[] = [];
  for (const datacenter of new Set([...last.keys(), ...files.keys()])) {
    const usable = yield* selectedFrom(files.get(datacenter) ?? [], (file) => isUsable(file, unusable));
    applied.push([datacenter, yield* settleDatacenter(usable, last.get(datacenter) ?? [], isBroken)]);
  }
  const kept = applied.flatMap(([, one]) => one.kept).filter(({ file }) => !broken.has(file));
  return {
    files: new Map(
      applied.flatMap(([name, one]) => (files.has(name) || one.files.length > 0 ? [[name, one.files]] : [])),
    ),
    problems: applied.flatMap(([, { problems }]) => problems),
    kept: shown(kept),
  };
}

/** Number of definitions to list: after the deletion of a folder, the full list would fill pages. */
const SHOWN = 5;

function shown(kept: readonly Definition[]): readonly string[] {
  const first = kept.slice(0, SHOWN).map(({ key, field }) => `${key} (${field.position})`);
  return kept.length > SHOWN ? [...first, `and ${kept.length - SHOWN} more`] : first;
}

/** A definition in a file. */
interface Definition {
  readonly kind: 'service' | 'check' | 'entry';
  /** Equal for two definitions of the same object. */
  readonly key: string;
  readonly file: string;
  readonly field: Field;
  /** The parsed value, used as the identity of the definition. */
  readonly value: object;
}

function definitionsIn({ file, registrations, checks, entries }: MeshFile): readonly Definition[] {
  const definition = (kind: Definition['kind'], key: string, value: Pick<Definition, 'field'>): Definition => ({
    kind,
    key,
    file,
    field: value.field,
    value,
  });
  return [
    ...registrations.map((value) => definition('service', `service ${value.id}`, value)),
    ...checks.map((value) => definition('check', `check ${value.serviceId}/${value.check.id}`, value)),
    ...entries.map((value) => definition('entry', `${value.kind}/${value.name}`, value)),
  ];
}

function selected(file: MeshFile, isWanted: (value: object) => boolean): MeshFile {
  return {
    ...file,
    registrations: file.registrations.filter(isWanted),
    checks: file.checks.filter(isWanted),
    entries: file.entries.filter(isWanted),
  };
}

function* selectedFrom(
  files: readonly MeshFile[],
  wanted: (file: MeshFile) => (value: object) => boolean,
): Generator<void, readonly MeshFile[]> {
  const all: MeshFile[] = [];
  for (const file of files) {
    all.push(selected(file, wanted(file)));
    yield;
  }
  return all;
}

function fileWithProblems({ file, problems }: MeshFile): readonly string[] {
  return problems.length > 0 ? [file] : [];
}

function isUsable({ problems }: MeshFile, unusable: ReadonlySet<object> | undefined): (value: object) => boolean {
  return (value) => problems.length === 0 && unusable?.has(value) !== true;
}

interface AppliedDatacenter {
  readonly files: readonly MeshFile[];
  readonly problems: readonly Problem[];
  readonly kept: readonly Definition[];
}

/** @param isBroken whether definitions in effect remain unless they are defined elsewhere */
function* settleDatacenter(
  files: readonly MeshFile[],
  last: readonly MeshFile[],
  isBroken: boolean,
): Generator<void, AppliedDatacenter> {
  const before = new Map<string, string>();
  for (const each of last) {
    for (const { key, file } of definitionsIn(each)) before.set(key, file);
    yield;
  }
  const inForce = new Map<string, Definition>();
  const rivals: Definition[] = [];
  for (const each of files) {
    for (const definition of definitionsIn(each)) {
      const { kind, key, file } = definition;
      const first = inForce.get(key);
      const wins = first === undefined || (first.file !== file && before.get(key) === file);
      if (wins) inForce.set(key, definition);
      if (first !== undefined && kind !== 'check') rivals.push(wins ? first : definition);
    }
    yield;
  }
  const kept = isBroken ? last.flatMap(definitionsIn).filter(({ key }) => !inForce.has(key)) : [];
  const lost = new Set(rivals.map(({ value }) => value));
  const stays = new Set(kept.map(({ value }) => value));
  const applied = yield* selectedFrom(files, () => (value) => !lost.has(value));
  const remaining = yield* selectedFrom(stays.size === 0 ? [] : last, () => (value) => stays.has(value));
  return {
    kept,
    files: [...applied, ...remaining.filter((file) => definitionsIn(file).length > 0)],
    problems: rivals.flatMap((rival) => rivalry(rival, inForce.get(rival.key))),
  };
}

/** Reports a second definition of the same object. Several checks may have the same name. */
function rivalry({ kind, key, field }: Definition, winner: Definition | undefined): readonly Problem[] {
  if (winner === undefined) return [];
  if (kind !== 'service') return contradiction(key, field, winner.field);
  const id = JSON.stringify(key.slice(kind.length + 1));
  const message = `service id ${id} is already used at ${winner.field.position}: give one of them another id`;
  return [problemWith(field, message)];
}
