import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ConfigProblems, type Problem } from '@meshgate/core';
import { inTurns } from '@meshgate/core/parts';
import {
  digestOf,
  type FilesRead,
  type WatchStep,
  watchPathOf,
  type ParseOutcome,
  readFiles,
  watchPathTo,
} from '@meshgate/documents';
import { type FilesInForce, settle, type MeshInForce } from './in-force.ts';
import { buildMesh, type BuiltMesh, type Mesh, type MeshStandpoint } from './mesh.ts';
import { withPeers } from './peers.ts';
import { MESH_FILE_ENDINGS, type MeshFile, parsingMeshFile } from './mesh-file.ts';

/**
 * Reads a folder of mesh files once. It has one folder per datacenter, each with any number of `.hcl` and `.json`
 * files; hidden files are skipped.
 *
 * @throws ConfigProblems with every problem of every file and its position; also when a file or folder cannot be read
 */
export async function readMesh(folder: string, standpoint: MeshStandpoint): Promise<Mesh> {
  const outcome = await inTurns(meshParser(folder, standpoint)(await readMeshFiles(folder, peersOf(standpoint))));
  if (outcome.kind !== 'good') throw new ConfigProblems(outcome.problems);
  return outcome.value;
}

/** The contents of a folder of mesh files at one moment. */
export interface MeshFilesRead {
  /** Files by datacenter. */
  readonly datacenters: ReadonlyMap<string, FilesRead>;
  /** Folders of peers, by their names. */
  readonly peers: ReadonlyMap<string, MeshFilesRead>;
  /** Problems of the folder itself. */
  readonly problems: readonly Problem[];
  /** Equal for equal contents. */
  readonly digest: string;
}

/** The folder, inside the mesh folder, with one folder per peer. */
const PEERS = 'peers';

/** Returns the names of the peers whose folders are read. */
export function peersOf({ peers = {} }: MeshStandpoint): readonly string[] {
  return Object.keys(peers).toSorted();
}

/**
 * Reads the files. Never rejects: a file that cannot be read is a problem.
 *
 * @param peers names of the peers whose folders are in `peers`
 * @param hasPeers whether `peers` is the folder of peers, not a datacenter
 */
export async function readMeshFiles(
  folder: string,
  peers: readonly string[] = [],
  hasPeers: boolean = peers.length > 0,
): Promise<MeshFilesRead> {
  const { folders, strays, problems } = await contentsOf(folder, hasPeers);
  const ofPeers = await Promise.all(peers.map((name) => readMeshFiles(join(folder, PEERS, name), [], true)));
  const read = await Promise.all(folders.map((path) => readFiles(path, MESH_FILE_ENDINGS)));
  const datacenters = new Map(folders.map((path, index) => [basename(path), read[index] ?? NOTHING]));
  const digest = digestOf([
    ...folders,
    ...read.map((files) => files.digest),
    ...ofPeers.map((one) => one.digest),
    ...problems.map(({ message }) => message),
  ]);
  return {
    datacenters,
    peers: new Map(peers.map((name, index) => [name, ofPeers[index] ?? NO_FILES])),
    problems: [...problems, ...strays.map(stray)],
    digest: digestOf([digest, ...strays]),
  };
}

/** Returns every path to watch for changes in a folder of mesh files. */
export async function meshWatchPath(
  folder: string,
  peers: readonly string[] = [],
  hasPeers: boolean = peers.length > 0,
): Promise<readonly WatchStep[]> {
  const { folders } = await contentsOf(folder, hasPeers);
  const ofPeers = await Promise.all(peers.map((name) => meshWatchPath(join(folder, PEERS, name), [], true)));
  const watchPaths = await Promise.all(folders.map((path) => watchPathTo(path, MESH_FILE_ENDINGS)));
  return [...(await watchPathOf(folder)), ...watchPaths.flat(), ...ofPeers.flat()];
}

/**
 * Creates a parser of mesh files. It is stateful: an unchanged file is not parsed again, and definitions in effect
 * survive mistakes. A mistake in a peer's files affects only that peer. It works in steps, so that the caller can yield
 * in between; one parse must end before the next begins.
 */
export function meshParser(
  folder: string,
  standpoint: MeshStandpoint,
): (read: MeshFilesRead) => Generator<void, ParseOutcome<Mesh>> {
  const { peers = {}, ...own } = standpoint;
  const parseOwn = clusterParser(folder, own);
  const parsers = peersOf(standpoint).map((name) => {
    const { datacenter = '', trustDomain = '' } = peers[name] ?? {};
    return [name, clusterParser(join(folder, PEERS, name), { datacenter, trustDomain })] as const;
  });
  return function* parseMesh(read) {
    const outcomes: (readonly [string, ParsedMesh])[] = [];
    for (const [name, parse] of parsers) outcomes.push([name, yield* parse(read.peers.get(name) ?? NO_FILES)]);
    const first = yield* parseOwn(read);
    const all = [first, ...outcomes.map(([, outcome]) => outcome)];
    const value = withPeers(first.value, new Map(outcomes.map(([name, outcome]) => [name, outcome.value])), peers);
    const partial = all.filter((outcome) => outcome.kind === 'partial');
    if (partial.length === 0) return { kind: 'good', value };
    const notes = new Set(partial.flatMap((outcome) => outcome.notes));
    return { kind: 'partial', value, problems: partial.flatMap(({ problems }) => problems), notes: [...notes] };
  };
}

type ParsedMesh = Exclude<ParseOutcome<Mesh>, { readonly kind: 'wrong' }>;

function clusterParser(
  folder: string,
  standpoint: MeshStandpoint,
): (read: MeshFilesRead) => Generator<void, ParsedMesh> {
  let known = new Map<string, KnownFile>();
  let inForce: FilesInForce | undefined;
  return function* parseCluster({ datacenters, problems, digest }) {
    const parsed: (readonly [string, readonly KnownFile[]])[] = [];
    for (const [name, { files }] of datacenters) parsed.push([name, yield* parseAll(files)]);
    known = new Map(parsed.flatMap(([, files]) => files).map((one) => [one.parsed.file, one]));
    const files = new Map(parsed.map(([name, list]) => [name, list.map((one) => one.parsed)]));
    const unread = Array.from(datacenters.values()).flatMap((one) => one.problems);
    const missing = problems.length === 0 ? withoutOwn(folder, datacenters, standpoint) : [];
    const inFiles = Array.from(files.values()).flatMap((list) => list.flatMap((file) => file.problems));
    const broken = [...problems, ...missing, ...unread, ...inFiles];
    const version = digestOf([digest, standpoint.datacenter, standpoint.trustDomain]);
    const { built, applied, problems: between } = yield* put(files, broken.length > 0, version);
    const all = [...broken, ...between];
    if (all.length === 0 || inForce !== undefined) inForce = applied.files;
    if (all.length === 0) return { kind: 'good', value: built.mesh };
    return { kind: 'partial', value: built.mesh, problems: all, notes: notesOn(applied.kept) };
  };

  /** Keeps the previous version of definitions with dangling references, because Consul would have rejected them. */
  function* put(files: FilesInForce, isBroken: boolean, version: string): Generator<void, Put> {
    const applied = yield* settle({ files, isBroken }, inForce);
    const built = yield* buildMesh(applied.files, standpoint, version);
    const problems = [...applied.problems, ...built.problems];
    if (inForce === undefined || built.astray.length === 0) return { applied, built, problems };
    const again = yield* settle({ files, isBroken: true, unusable: new Set(built.astray) }, inForce);
    return { applied: again, built: yield* buildMesh(again.files, standpoint, version), problems };
  }

  function* parseAll(files: FilesRead['files']): Generator<void, readonly KnownFile[]> {
    const all: KnownFile[] = [];
    for (const { file, text } of files) {
      const before = known.get(file);
      all.push(before?.text === text ? before : { text, parsed: yield* parsingMeshFile(text, file) });
      yield;
    }
    return all;
  }
}

/** A file in its last parsed version. */
interface KnownFile {
  readonly text: string;
  readonly parsed: MeshFile;
}

interface Put {
  readonly applied: MeshInForce;
  readonly built: BuiltMesh;
  readonly problems: readonly Problem[];
}

function notesOn(kept: readonly string[]): readonly string[] {
  const rule =
    'until the problems above are fixed, files with problems keep their last good version, and nothing is removed';
  return kept.length === 0 ? [rule] : [`${rule}: no longer defined, kept in use: ${kept.join(', ')}`];
}

const NOTHING: FilesRead = { files: [], problems: [], digest: '' };
const NO_FILES: MeshFilesRead = { datacenters: new Map(), peers: new Map(), problems: [], digest: '' };

interface Contents {
  /** Folders of datacenters. */
  readonly folders: readonly string[];
  /** Files beside the folders that look like mesh files. */
  readonly strays: readonly string[];
  readonly problems: readonly Problem[];
}

/** @param hasPeers whether the folder of peers is excluded from the datacenters */
async function contentsOf(folder: string, hasPeers: boolean): Promise<Contents> {
  try {
    const isOurs = (name: string): boolean => !name.startsWith('.') && !(hasPeers && name === PEERS);
    const names = (await readdir(folder)).filter(isOurs).toSorted();
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

/** Messages for the two most frequent system errors. */
const WORDS: ReadonlyMap<unknown, string> = new Map([
  ['ENOENT', 'no such file or directory'],
  ['ENOTDIR', 'expected a folder with one folder per datacenter, found a file'],
]);

/** Accepts a link to a folder as a folder: mounted volumes consist of links. */
async function asFolder(path: string): Promise<string | undefined> {
  const status = await stat(path).catch(() => undefined);
  return status?.isDirectory() === true ? path : undefined;
}

function isMeshFile(path: string): boolean {
  return MESH_FILE_ENDINGS.some((ending) => path.endsWith(ending));
}

function stray(file: string): Problem {
  const message = 'expected this file in the folder of a datacenter, found it next to the datacenter folders';
  return { message, path: [], at: { file, line: 1, column: 1 } };
}

function withoutOwn(
  folder: string,
  datacenters: ReadonlyMap<string, unknown>,
  { datacenter }: MeshStandpoint,
): readonly Problem[] {
  if (datacenters.has(datacenter)) return [];
  const found = [...datacenters.keys()].join(', ') || 'none';
  const message = `expected a folder for the local datacenter, ${JSON.stringify(datacenter)}; folders found: ${found}`;
  return [{ message, path: [], at: { file: folder, line: 1, column: 1 } }];
}
