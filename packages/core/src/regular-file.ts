import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { open } from 'node:fs/promises';
import { TextDecoder } from 'node:util';
import { errorOf, systemCode } from './errors.ts';

/**
 * About a thousand times the size of certificates, keys, tokens and name files: anything larger is a log, a core dump
 * or a disk image, configured by mistake.
 */
const DEFAULT_MAX_BYTES = 16 * 1024 * 1024;

/** Options of {@link readRegularFile}. */
export interface FileReadOptions {
  /** Larger files are refused; 16 MiB when absent. */
  readonly maxBytes?: number;
  /**
   * What to do with bytes that are not UTF-8; `refuse` when absent. `replace` is for ASCII formats whose readers skip
   * comments in any encoding: system files, PEM.
   */
  readonly otherBytes?: 'refuse' | 'replace';
}

/**
 * Reads a whole regular file as UTF-8, without its byte order mark.
 *
 * Other kinds of files are refused: opening a pipe blocks until there is a writer, and a device such as `/dev/zero` has
 * no end. Rejects, with a message in the style of the system's, for anything but a regular file, and for what `options`
 * refuse.
 */
export async function readRegularFile(path: string, options: FileReadOptions = {}): Promise<string> {
  const handle = await open(path, LOOK_FIRST).catch((reason: unknown) => {
    throw refusedOpen(reason, path);
  });
  try {
    refuseIrregular(await handle.stat(), path, options);
    return decode(await handle.readFile(), path, options);
  } finally {
    await handle.close();
  }
}

/** Synchronous {@link readRegularFile}: throws the errors that it rejects with. */
export function readRegularFileSync(path: string, options: FileReadOptions = {}): string {
  const descriptor = openAt(path);
  try {
    refuseIrregular(fstatSync(descriptor), path, options);
    return decode(readFileSync(descriptor), path, options);
  } finally {
    closeSync(descriptor);
  }
}

function openAt(path: string): number {
  try {
    return openSync(path, LOOK_FIRST);
  } catch (reason) {
    throw refusedOpen(reason, path);
  }
}

/** open(2) itself fails with ENXIO for sockets, and for device files without a device. */
function refusedOpen(reason: unknown, path: string): unknown {
  return systemCode(reason) === 'ENXIO'
    ? new Error(`expected a regular file, found a socket or a device, open '${path}'`)
    : reason;
}

/** Does not block on a pipe without a writer (open(2)); no effect on regular files. */
const LOOK_FIRST = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

function refuseIrregular(status: Stats, path: string, { maxBytes = DEFAULT_MAX_BYTES }: FileReadOptions): void {
  // The message ends as those of the system do, so that callers that print the path elsewhere can cut it off.
  if (!status.isFile()) throw new Error(`expected a regular file, found ${kindOf(status)}, open '${path}'`);
  if (status.size > maxBytes)
    throw new Error(`expected at most ${maxBytes} bytes, found ${status.size}, open '${path}'`);
}

function decode(bytes: Uint8Array, path: string, { otherBytes = 'refuse' }: FileReadOptions): string {
  if (otherBytes === 'replace') return new TextDecoder().decode(bytes);
  try {
    return utf8In(bytes);
  } catch (reason) {
    throw new Error(`${errorOf(reason).message}, open '${path}'`, { cause: reason });
  }
}

/**
 * Decodes UTF-8, without the byte order mark that Windows editors add.
 *
 * @throws Error with the other encoding, or the line of the first other bytes
 */
export function utf8In(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (reason) {
    throw new Error(`expected UTF-8, found ${otherEncoding(bytes)}`, { cause: reason });
  }
}

/** Recognises UTF-16 by the byte order mark that Windows writes; other bytes are located by their line. */
function otherEncoding(bytes: Uint8Array): string {
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) return 'UTF-16';
  const valid = new TextDecoder().decode(bytes).split('\uFFFD', 1)[0] ?? '';
  return `other bytes in line ${valid.split('\n').length}`;
}

function kindOf(status: Stats): string {
  if (status.isDirectory()) return 'a folder';
  if (status.isFIFO()) return 'a pipe';
  if (status.isSocket()) return 'a socket';
  return 'a device';
}
