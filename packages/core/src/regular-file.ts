import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { open } from 'node:fs/promises';
import { TextDecoder } from 'node:util';

/**
 * Certificates, keys, tokens and name files are a thousandth of it; what is larger is a log, a core dump or a disk image, named by mistake.
 */
const DEFAULT_MAX_BYTES = 16 * 1024 * 1024;

/**
 * Reads a whole file, as text in UTF-8.
 *
 * Only a regular file is read: whoever opens a pipe waits for a writer, and a device such as `/dev/zero` has no end. Rejects, in the words of
 * the system, for anything else, for other bytes than UTF-8, and for more than `maxBytes`; 16 MiB when absent.
 */
export async function readRegularFile(path: string, maxBytes: number = DEFAULT_MAX_BYTES): Promise<string> {
  const handle = await open(path, LOOK_FIRST).catch((reason: unknown) => {
    throw refusedOpen(reason, path);
  });
  try {
    refuseIrregular(await handle.stat(), path, maxBytes);
    return decode(await handle.readFile(), path);
  } finally {
    await handle.close();
  }
}

/** {@link readRegularFile} at once, for those who cannot wait. Throws what that rejects with. */
export function readRegularFileSync(path: string, maxBytes: number = DEFAULT_MAX_BYTES): string {
  const descriptor = openAt(path);
  try {
    refuseIrregular(fstatSync(descriptor), path, maxBytes);
    return decode(readFileSync(descriptor), path);
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

/** Sockets, and devices behind which there is nothing, are not opened at all (open(2)). */
function refusedOpen(reason: unknown, path: string): unknown {
  const isNone = reason instanceof Error && 'code' in reason && reason.code === 'ENXIO';
  return isNone ? new Error(`expected a regular file, found a socket or a device, open '${path}'`) : reason;
}

/** Without waiting for whoever writes into a pipe (open(2)); of a regular file it changes nothing. */
const LOOK_FIRST = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

function refuseIrregular(status: Stats, path: string, maxBytes: number): void {
  // The end of the system's own messages: whoever shows the path elsewhere takes it off.
  if (!status.isFile()) throw new Error(`expected a regular file, found ${kindOf(status)}, open '${path}'`);
  if (status.size > maxBytes)
    throw new Error(`expected at most ${maxBytes} bytes, found ${status.size}, open '${path}'`);
}

/** Without a mark of the byte order, which editors of Windows put in front. */
function decode(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new Error(`expected UTF-8, found other bytes, open '${path}'`);
  }
}

function kindOf(status: Stats): string {
  if (status.isDirectory()) return 'a folder';
  if (status.isFIFO()) return 'a pipe';
  if (status.isSocket()) return 'a socket';
  return 'a device';
}
