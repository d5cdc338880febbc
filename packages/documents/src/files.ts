import { createHash } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Problem } from '@meshgate/core';
import { errorOf, readRegularFile } from '@meshgate/core/parts';

/** A file's contents. */
export interface FileText {
  /** Path of the file. */
  readonly file: string;
  /** Whole contents of the file, decoded as UTF-8. */
  readonly text: string;
}

/** Files read at one moment. */
export interface FilesRead {
  /** Readable files, in the order of their names. */
  readonly files: readonly FileText[];
  /** Problems of files that could not be read. */
  readonly problems: readonly Problem[];
  /** Equal when every file has the same name and bytes, or fails for the same reason. */
  readonly digest: string;
}

/**
 * Reads `path`: the file itself, or every file directly in the folder whose name ends in one of `endings` and does not
 * begin with a dot. Never rejects: an unreadable file becomes a problem.
 *
 * @param endings for example `.yaml`; ignored when `path` is a file
 */
export async function readFiles(path: string, endings: readonly string[]): Promise<FilesRead> {
  try {
    const folder = (await stat(path)).isDirectory();
    const files = folder ? await filesIn(path, endings) : [path];
    return summed(await readAll(files));
  } catch (reason) {
    return summed([unreadable(path, reason)]);
  }
}

/** Reads a few files at a time: each takes a descriptor, and connections need descriptors. */
async function readAll(files: readonly string[]): Promise<readonly ReadOutcome[]> {
  const outcomes: ReadOutcome[] = [];
  for (let at = 0; at < files.length; at += FILES_AT_A_TIME)
    outcomes.push(...(await Promise.all(files.slice(at, at + FILES_AT_A_TIME).map(readOne))));
  return outcomes;
}

const FILES_AT_A_TIME = 16;

/** Reads one file like {@link readFiles}; a folder is a problem. */
export async function readOneFile(file: string): Promise<FilesRead> {
  return summed([await readOne(file)]);
}

/** Returns the files of a folder, sorted by name. */
async function filesIn(folder: string, endings: readonly string[]): Promise<readonly string[]> {
  // Sorted by code unit, so that the order and all messages are the same in every locale.
  return (await entriesIn(folder, endings)).map(({ name }) => join(folder, name)).sort();
}

/** Returns the links among the files that {@link readFiles} would read in a folder. */
export async function linksIn(folder: string, endings: readonly string[]): Promise<readonly string[]> {
  const links = (await entriesIn(folder, endings)).filter((entry) => entry.isSymbolicLink());
  return links.map(({ name }) => join(folder, name)).sort();
}

async function entriesIn(folder: string, endings: readonly string[]): Promise<readonly Dirent[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.filter((entry) => !entry.isDirectory() && isWanted(entry.name, endings));
}

/** Skips hidden files: swap files of editors, and the targets of Kubernetes' links. */
function isWanted(name: string, endings: readonly string[]): boolean {
  return !name.startsWith('.') && endings.some((ending) => name.endsWith(ending));
}

/** The result of reading one file. */
type ReadOutcome = FileText | Problem;

/** A hundred times the largest sensible route file; rejects a log or a core dump given by mistake. */
const MAX_FILE_BYTES = 64 * 1024 * 1024;

async function readOne(file: string): Promise<ReadOutcome> {
  try {
    return { file, text: await readRegularFile(file, { maxBytes: MAX_FILE_BYTES }) };
  } catch (reason) {
    return unreadable(file, reason);
  }
}

function unreadable(file: string, reason: unknown): Problem {
  return { message: `cannot be read: ${why(reason)}`, path: [], at: { file, line: 1, column: 1 } };
}

/** Returns the system's message without the call and the path that Node appends. */
function why(reason: unknown): string {
  return errorOf(reason)
    .message.replace(/, \w+( '.*')?$/, '')
    .replace(/^E[A-Z]+: /, '');
}

function summed(outcomes: readonly ReadOutcome[]): FilesRead {
  const files = outcomes.filter((outcome): outcome is FileText => 'text' in outcome);
  const problems = outcomes.filter((outcome): outcome is Problem => !('text' in outcome));
  return { files, problems, digest: digestOf(outcomes.flatMap(identity)) };
}

function identity(outcome: ReadOutcome): readonly string[] {
  return 'text' in outcome ? [outcome.file, outcome.text] : [outcome.at?.file ?? '', outcome.message];
}

/** Returns a short digest of `contents`. It detects changes, and need not resist forgery. */
export function digestOf(contents: readonly string[]): string {
  const hash = createHash('sha256');
  // The length prefix distinguishes ['a', 'bc'] from ['ab', 'c'].
  for (const text of contents) hash.update(`${text.length}:`).update(text);
  return hash.digest('hex').slice(0, DIGEST_CHARS);
}

/** 64 bits: two different readings collide once in 10^19. */
const DIGEST_CHARS = 16;
