import type { Problem } from '@meshgate/core';
import type { Field } from '@meshgate/documents';
import { placeOf } from './keys.ts';
import { type MeshFile, problemWith } from './mesh-file.ts';

/** The files of each datacenter with the definitions in them that are in force. */
export type FilesInForce = ReadonlyMap<string, readonly MeshFile[]>;

/** What was read, and how it differs from what is in force. */
export interface MeshReading {
  readonly files: FilesInForce;
  /** Anything at all could not be read: what it would say is not known. */
  readonly isBroken: boolean;
  /** Definitions that are not to be used, because what they lead to does not exist. */
  readonly unusable?: ReadonlySet<object>;
}

/** What is in force from now on. */
export interface MeshInForce {
  readonly files: FilesInForce;
  /** Definitions that contradict each other. */
  readonly problems: readonly Problem[];
  /** What is no longer defined and in force all the same, for people. */
  readonly kept: readonly string[];
}

/**
 * Decides what is in force. A file with problems stays in force as it was last read without any; all others are taken as they are, but
 * as long as there is a problem anywhere nothing is removed: what has left one file may have been moved to the one that cannot be read.
 * Of two definitions of one thing the one in force stays, else the first is taken. Pure.
 *
 * @param last what was in force before; nothing at the first reading
 */
export function settle({ files, isBroken, unusable }: MeshReading, last: FilesInForce = new Map()): MeshInForce {
  const broken = new Set(Array.from(files.values()).flatMap((list) => list.flatMap(fileWithProblems)));
  const applied = [...new Set([...last.keys(), ...files.keys()])].map((datacenter) => {
    const usable = (files.get(datacenter) ?? []).map((file) => selected(file, isUsable(file, unusable)));
    return [datacenter, settleDatacenter(usable, last.get(datacenter) ?? [], isBroken)] as const;
  });
  const kept = applied.flatMap(([, one]) => one.kept).filter(({ file }) => !broken.has(file));
  return {
    files: new Map(
      applied.flatMap(([name, one]) => (files.has(name) || one.files.length > 0 ? [[name, one.files]] : [])),
    ),
    problems: applied.flatMap(([, { problems }]) => problems),
    kept: shown(kept),
  };
}

/** The first few: a folder that is gone would fill pages. */
const SHOWN = 5;

function shown(kept: readonly Definition[]): readonly string[] {
  const first = kept.slice(0, SHOWN).map(({ key, field }) => `${key} (${placeOf(field)})`);
  return kept.length > SHOWN ? [...first, `and ${kept.length - SHOWN} more`] : first;
}

/** One definition among those of a file. */
interface Definition {
  readonly kind: 'service' | 'check' | 'entry';
  /** Equal when two define the same. */
  readonly key: string;
  readonly file: string;
  readonly field: Field;
  /** What it was read as: it tells definitions apart. */
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

/** @param isBroken what was in force stays where nothing else is defined in its place */
function settleDatacenter(files: readonly MeshFile[], last: readonly MeshFile[], isBroken: boolean): AppliedDatacenter {
  const before = new Map(last.flatMap(definitionsIn).map(({ key, file }) => [key, file]));
  const inForce = new Map<string, Definition>();
  const rivals: Definition[] = [];
  for (const definition of files.flatMap(definitionsIn)) {
    const { kind, key, file } = definition;
    const first = inForce.get(key);
    const wins = first === undefined || (first.file !== file && before.get(key) === file);
    if (wins) inForce.set(key, definition);
    if (first !== undefined && kind !== 'check') rivals.push(wins ? first : definition);
  }
  const kept = isBroken ? last.flatMap(definitionsIn).filter(({ key }) => !inForce.has(key)) : [];
  const lost = new Set(rivals.map(({ value }) => value));
  const stays = new Set(kept.map(({ value }) => value));
  return {
    kept,
    files: [
      ...files.map((file) => selected(file, (value) => !lost.has(value))),
      ...last
        .map((file) => selected(file, (value) => stays.has(value)))
        .filter((file) => definitionsIn(file).length > 0),
    ],
    problems: rivals.flatMap((rival) => rivalry(rival, inForce.get(rival.key))),
  };
}

/** What two definitions have in common that may not be common to them. A check may stand beside others of its name. */
function rivalry({ kind, key, field }: Definition, winner: Definition | undefined): readonly Problem[] {
  if (winner === undefined) return [];
  const place = placeOf(winner.field);
  if (kind === 'service') {
    const message = `service id ${JSON.stringify(key.slice(kind.length + 1))} is taken at ${place}: give one of them an id of its own`;
    return [problemWith(field, message)];
  }
  const isSame = JSON.stringify(field.plain()) === JSON.stringify(winner.field.plain());
  return isSame ? [] : [problemWith(field, `${key} is written already, with other content, at ${place}`)];
}
