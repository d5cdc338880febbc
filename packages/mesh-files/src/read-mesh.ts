import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ConfigProblems, type Problem } from '@meshgate/core';
import { digestOf, type FilesRead, type Lookup, lookupsOf, type Outcome, readFiles, wayTo } from '@meshgate/documents';
import { type FilesInForce, settle, type Settled } from './in-force.ts';
import { buildMesh, type BuiltMesh, type Mesh, type MeshStandpoint } from './mesh.ts';
import { MESH_FILE_ENDINGS, type MeshFile, parseMeshFile } from './mesh-file.ts';

/**
 * Reads a folder of mesh files once: it holds a folder for each datacenter, and these any number of `.hcl` and `.json` files, hidden
 * ones left out.
 *
 * @throws ConfigProblems with every problem of every file and its place; also when something cannot be read
 */
export async function readMesh(folder: string, standpoint: MeshStandpoint): Promise<Mesh> {
  const outcome = meshParser(folder, standpoint)(await readMeshFiles(folder));
  if (outcome.kind !== 'good') throw new ConfigProblems(outcome.problems);
  return outcome.value;
}

/** What stood in a folder of mesh files at one moment. */
export interface MeshFilesRead {
  /** The files of each datacenter. */
  readonly datacenters: ReadonlyMap<string, FilesRead>;
  /** What is wrong with the folder itself. */
  readonly problems: readonly Problem[];
  readonly digest: string;
}

/** Reads the bytes. Rejects for nothing: what cannot be read is a problem. */
export async function readMeshFiles(folder: string): Promise<MeshFilesRead> {
  const { folders, strays, problems } = await contentsOf(folder);
  const read = await Promise.all(folders.map((path) => readFiles(path, MESH_FILE_ENDINGS)));
  const datacenters = new Map(folders.map((path, index) => [basename(path), read[index] ?? NOTHING]));
  const digest = digestOf([
    ...folders,
    ...read.map((files) => files.digest),
    ...problems.map(({ message }) => message),
  ]);
  return { datacenters, problems: [...problems, ...strays.map(stray)], digest: digestOf([digest, ...strays]) };
}

/** Every name that decides what stands in a folder of mesh files. */
export async function wayToMesh(folder: string): Promise<readonly Lookup[]> {
  const { folders } = await contentsOf(folder);
  const ways = await Promise.all(folders.map((path) => wayTo(path, MESH_FILE_ENDINGS)));
  return [...(await lookupsOf(folder)), ...ways.flat()];
}

/**
 * Makes a mesh of what was read. It remembers files: one that has the same bytes as before is not parsed again; and what is in force, of
 * which a mistake takes nothing away.
 */
export function meshParser(folder: string, standpoint: MeshStandpoint): (read: MeshFilesRead) => Outcome<Mesh> {
  let known = new Map<string, { readonly text: string; readonly parsed: MeshFile }>();
  let inForce: FilesInForce | undefined;
  return ({ datacenters, problems, digest }) => {
    const parsed = Array.from(datacenters, ([name, { files }]) => [name, files.map(parse)] as const);
    known = new Map(parsed.flatMap(([, files]) => files).map((one) => [one.parsed.file, one]));
    const files = new Map(parsed.map(([name, list]) => [name, list.map((one) => one.parsed)]));
    const unread = Array.from(datacenters.values()).flatMap((one) => one.problems);
    const missing = problems.length === 0 ? withoutOwn(folder, datacenters, standpoint) : [];
    const inFiles = Array.from(files.values()).flatMap((list) => list.flatMap((file) => file.problems));
    const broken = [...problems, ...missing, ...unread, ...inFiles];
    const version = digestOf([digest, standpoint.datacenter, standpoint.trustDomain]);
    const { built, settled, problems: between } = put(files, broken.length > 0, version);
    const all = [...broken, ...between];
    if (all.length === 0 || inForce !== undefined) inForce = settled.files;
    if (all.length === 0) return { kind: 'good', value: built.mesh };
    return { kind: 'partial', value: built.mesh, problems: all, notes: notesOn(settled.kept) };
  };

  /** What leads nowhere is left as it was, as Consul would have refused to write it. */
  function put(files: FilesInForce, isBroken: boolean, version: string): Put {
    const settled = settle({ files, isBroken }, inForce);
    const built = buildMesh(settled.files, standpoint, version);
    const problems = [...settled.problems, ...built.problems];
    if (inForce === undefined || built.astray.length === 0) return { settled, built, problems };
    const again = settle({ files, isBroken: true, unusable: new Set(built.astray) }, inForce);
    return { settled: again, built: buildMesh(again.files, standpoint, version), problems };
  }

  function parse({ file, text }: FilesRead['files'][number]): { readonly text: string; readonly parsed: MeshFile } {
    const before = known.get(file);
    return before?.text === text ? before : { text, parsed: parseMeshFile(text, file) };
  }
}

interface Put {
  readonly settled: Settled;
  readonly built: BuiltMesh;
  readonly problems: readonly Problem[];
}

function notesOn(kept: readonly string[]): readonly string[] {
  const rule =
    'until the problems above are fixed, files with problems stay in use as they were last read without any, and nothing is removed';
  return kept.length === 0 ? [rule] : [`${rule}: still in use though no longer defined: ${kept.join(', ')}`];
}

const NOTHING: FilesRead = { files: [], problems: [], digest: '' };

interface Contents {
  /** Of datacenters, by name. */
  readonly folders: readonly string[];
  /** Files that look as if they were meant to be read. */
  readonly strays: readonly string[];
  readonly problems: readonly Problem[];
}

async function contentsOf(folder: string): Promise<Contents> {
  try {
    const names = (await readdir(folder)).filter((name) => !name.startsWith('.')).toSorted();
    const paths = await Promise.all(names.map(async (name) => await asFolder(join(folder, name))));
    const folders = paths.filter((path) => path !== undefined);
    const strays = names
      .map((name) => join(folder, name))
      .filter((path) => !folders.includes(path) && isMeshFile(path));
    return { folders, strays, problems: [] };
  } catch (reason) {
    const message = `cannot be read: ${reason instanceof Error && 'code' in reason ? (WORDS.get(reason.code) ?? reason.message) : String(reason)}`;
    return { folders: [], strays: [], problems: [{ message, path: [], at: { file: folder, line: 1, column: 1 } }] };
  }
}

/** The commonest two of the system's errors, in its own words. */
const WORDS: ReadonlyMap<unknown, string> = new Map([
  ['ENOENT', 'no such file or directory'],
  ['ENOTDIR', 'expected a folder with a folder for each datacenter, found a file'],
]);

/** A link to a folder is one, too: so are volumes mounted. */
async function asFolder(path: string): Promise<string | undefined> {
  const status = await stat(path).catch(() => undefined);
  return status?.isDirectory() === true ? path : undefined;
}

function isMeshFile(path: string): boolean {
  return MESH_FILE_ENDINGS.some((ending) => path.endsWith(ending));
}

function stray(file: string): Problem {
  const message = 'expected this file in the folder of a datacenter, found it beside these folders';
  return { message, path: [], at: { file, line: 1, column: 1 } };
}

function withoutOwn(
  folder: string,
  datacenters: ReadonlyMap<string, unknown>,
  { datacenter }: MeshStandpoint,
): readonly Problem[] {
  if (datacenters.has(datacenter)) return [];
  const found = [...datacenters.keys()].join(', ') || 'none';
  const message = `expected a folder for the own datacenter, ${JSON.stringify(datacenter)}; folders found: ${found}`;
  return [{ message, path: [], at: { file: folder, line: 1, column: 1 } }];
}
