import { createHash } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Problem } from '@meshgate/core';
import { errorOf, readRegularFile } from '@meshgate/core/parts';

/** A file's contents. */
export interface FileText {
  /** Its path. */
  readonly file: string;
  /** All of it, decoded as UTF-8. */
  readonly text: string;
}

/** Files read from disk at one moment. */
export interface FilesRead {
  /** In the order of their names. */
  readonly files: readonly FileText[];
  /** Files that could not be read. */
  readonly problems: readonly Problem[];
  /** Equal when every file had the same name and bytes, or failed for the same reason. */
  readonly digest: string;
}

/**
 * Reads `path`: the file itself, or every file directly in the folder whose name ends in one of `endings` and does not
 * begin with a dot. Never rejects: an unreadable file is a problem.
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

/** Few at a time: each takes a descriptor, and those are for connections. */
async function readAll(files: readonly string[]): Promise<readonly ReadOutcome[]> {
  const outcomes: ReadOutcome[] = [];
  for (let at = 0; at < files.length; at += FILES_AT_A_TIME)
    outcomes.push(...(await Promise.all(files.slice(at, at + FILES_AT_A_TIME).map(readOne))));
  return outcomes;
}

const FILES_AT_A_TIME = 16;

/** Reads one file as {@link readFiles} does; a folder is a problem. */
export async function readOneFile(file: string): Promise<FilesRead> {
  return summed([await readOne(file)]);
}

/** The files of a folder, by name. */
async function filesIn(folder: string, endings: readonly string[]): Promise<readonly string[]> {
  // By code unit, not by locale: the order, and with it every message, is the same on every machine.
  return (await entriesIn(folder, endings)).map(({ name }) => join(folder, name)).sort();
}

/** Those of the files that {@link readFiles} would read in a folder which are links. */
export async function linksIn(folder: string, endings: readonly string[]): Promise<readonly string[]> {
  const links = (await entriesIn(folder, endings)).filter((entry) => entry.isSymbolicLink());
  return links.map(({ name }) => join(folder, name)).sort();
}

async function entriesIn(folder: string, endings: readonly string[]): Promise<readonly Dirent[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.filter((entry) => !entry.isDirectory() && isWanted(entry.name, endings));
}

/** Hidden files are skipped: swap files of editors, and the targets of Kubernetes' links. */
function isWanted(name: string, endings: readonly string[]): boolean {
  return !name.startsWith('.') && endings.some((ending) => name.endsWith(ending));
}

/** One file, readable or not. */
type ReadOutcome = FileText | Problem;

/** A hundred times the largest sensible route file; rejects a log or core dump given by mistake. */
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

/** The system's message without the call and the path that Node appends. */
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

/** A short digest of `texts`: it detects changes and need not resist forgery. */
export function digestOf(contents: readonly string[]): string {
  const hash = createHash('sha256');
  // The length prefix distinguishes ['a', 'bc'] from ['ab', 'c'].
  for (const text of contents) hash.update(`${text.length}:`).update(text);
  return hash.digest('hex').slice(0, DIGEST_CHARS);
}

/** 64 bits: two different readings collide once in 10^19. */
const DIGEST_CHARS = 16;
