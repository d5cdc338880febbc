import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ConfigProblems, type Problem } from '@meshgate/core';
import { digestOf, type FilesRead, type Lookup, lookupsOf, readFiles, wayTo } from '@meshgate/documents';
import { buildMesh, type BuiltMesh, type Mesh, type MeshStandpoint } from './mesh.ts';
import { MESH_FILE_ENDINGS, type MeshFile, parseMeshFile } from './mesh-file.ts';

/**
 * Reads a folder of mesh files once: it holds a folder for each datacenter, and these any number of `.hcl` and `.json` files, hidden
 * ones left out.
 *
 * @throws ConfigProblems with every problem of every file and its place; also when something cannot be read
 */
export async function readMesh(folder: string, standpoint: MeshStandpoint): Promise<Mesh> {
  const { mesh, problems } = meshParser(folder, standpoint)(await readMeshFiles(folder));
  if (problems.length > 0) throw new ConfigProblems(problems);
  return mesh;
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

/** Makes a mesh of what was read. It remembers files: one that has the same bytes as before is not parsed again. */
export function meshParser(folder: string, standpoint: MeshStandpoint): (read: MeshFilesRead) => BuiltMesh {
  let known = new Map<string, { readonly text: string; readonly parsed: MeshFile }>();
  return ({ datacenters, problems, digest }) => {
    const parsed = Array.from(datacenters, ([name, { files }]) => [name, files.map(parse)] as const);
    known = new Map(parsed.flatMap(([, files]) => files).map((one) => [one.parsed.file, one]));
    const files = new Map(parsed.map(([name, list]) => [name, list.map((one) => one.parsed)]));
    const built = buildMesh(files, standpoint, digestOf([digest, standpoint.datacenter, standpoint.trustDomain]));
    const unread = Array.from(datacenters.values()).flatMap((one) => one.problems);
    const missing = problems.length === 0 ? withoutOwn(folder, datacenters, standpoint) : [];
    return { mesh: built.mesh, problems: [...problems, ...missing, ...unread, ...built.problems] };
  };

  function parse({ file, text }: FilesRead['files'][number]): { readonly text: string; readonly parsed: MeshFile } {
    const before = known.get(file);
    return before?.text === text ? before : { text, parsed: parseMeshFile(text, file) };
  }
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
