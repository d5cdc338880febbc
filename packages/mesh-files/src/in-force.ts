import type { Problem } from '@meshgate/core';
import type { Field } from '@meshgate/documents';
import { positionOf } from './keys.ts';
import { type MeshFile, problemWith } from './mesh-file.ts';

/** The files of each datacenter, with the definitions that are in force. */
export type FilesInForce = ReadonlyMap<string, readonly MeshFile[]>;

/** The files as they were read, and how they differ from what is in force. */
export interface MeshReading {
  readonly files: FilesInForce;
  /** Some file could not be read, so its definitions are unknown. */
  readonly isBroken: boolean;
  /** Definitions to reject, because they refer to something that does not exist. */
  readonly unusable?: ReadonlySet<object>;
}

/** What is in force after this reading. */
export interface MeshInForce {
  readonly files: FilesInForce;
  /** Definitions that contradict each other. */
  readonly problems: readonly Problem[];
  /** Definitions that were deleted but are kept in force, for log and status. */
  readonly kept: readonly string[];
}

/**
 * Decides what is in force. A file with problems keeps its last good version; all other files are applied as they are. While any file
 * has a problem nothing is removed: a definition that left one file may have moved to the file that cannot be read. Of two definitions
 * of the same thing, the one in force stays, otherwise the first wins. Pure, in steps.
 *
 * @param last what was in force before; nothing at the first reading
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

/** Only the first few: after a folder was deleted the full list would fill pages. */
const SHOWN = 5;

function shown(kept: readonly Definition[]): readonly string[] {
  const first = kept.slice(0, SHOWN).map(({ key, field }) => `${key} (${positionOf(field)})`);
  return kept.length > SHOWN ? [...first, `and ${kept.length - SHOWN} more`] : first;
}

/** One definition in a file. */
interface Definition {
  readonly kind: 'service' | 'check' | 'entry';
  /** Equal when two define the same. */
  readonly key: string;
  readonly file: string;
  readonly field: Field;
  /** The value that it was parsed into; used as its identity. */
  readonly value: object;
}

function definitionsIn({ file, registrations, checks, entries }: MeshFile): readonly Definition[] {
  return [
    ...registrations.map(
      (value) => ({ kind: 'service', key: `service ${value.id}`, file, field: value.field, value }) as const,
    ),
    ...checks.map(
      (value) =>
        ({
          kind: 'check',
          key: `check ${value.serviceId}/${value.check.id}`,
          file,
          field: value.field,
          value,
        }) as const,
    ),
    ...entries.map(
      (value) => ({ kind: 'entry', key: `${value.kind}/${value.name}`, file, field: value.field, value }) as const,
    ),
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

/** @param isBroken when set, what was in force stays unless it is redefined elsewhere */
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
  const left = yield* selectedFrom(stays.size === 0 ? [] : last, () => (value) => stays.has(value));
  return {
    kept,
    files: [...applied, ...left.filter((file) => definitionsIn(file).length > 0)],
    problems: rivals.flatMap((rival) => rivalry(rival, inForce.get(rival.key))),
  };
}

/** The key that two definitions must not share. Several checks may have the same name. */
function rivalry({ kind, key, field }: Definition, winner: Definition | undefined): readonly Problem[] {
  if (winner === undefined) return [];
  const location = positionOf(winner.field);
  if (kind === 'service') {
    const message = `service id ${JSON.stringify(key.slice(kind.length + 1))} is already used at ${location}: give one of them another id`;
    return [problemWith(field, message)];
  }
  const isSame = JSON.stringify(field.plain()) === JSON.stringify(winner.field.plain());
  return isSame ? [] : [problemWith(field, `${key} is already defined, with other content, at ${location}`)];
}
