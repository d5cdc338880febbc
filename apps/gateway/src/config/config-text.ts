import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { ConfigProblems } from '@meshgate/core';
import { errorOf, utf8In } from '@meshgate/core/parts';

/**
 * Reads a configuration file: a regular file, `/dev/null`, or a pipe with a writer (`/dev/stdin`, `<(…)` of a shell).
 *
 * @throws ConfigProblems when it cannot be read, is too large, or is a pipe without a writer
 */
export async function readConfigText(file: string): Promise<string> {
  try {
    // Opens a pipe without waiting for its writer (open(2)); no effect on a regular file.
    const handle = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      return utf8In(await readToEnd(handle));
    } finally {
      await handle.close();
    }
  } catch (reason) {
    const message = `cannot be read: ${errorOf(reason).message}`;
    throw new ConfigProblems([{ message, path: [], at: { file, line: 1, column: 1 } }]);
  }
}

/** A thousand times the size of a typical configuration. */
const MAX_BYTES = 16 * 1024 * 1024;

async function readToEnd(handle: FileHandle): Promise<Buffer> {
  const isPipe = (await handle.stat()).isFIFO();
  const latest = performance.now() + PIPE_PATIENCE_MS;
  const parts: Buffer[] = [];
  for (let bytes = 0; bytes <= MAX_BYTES;) {
    const part = await readSome(handle);
    if (part !== undefined && part.length > 0) parts.push(part);
    else if (part?.length === 0 && !(isPipe && bytes === 0)) return Buffer.concat(parts);
    else if (performance.now() > latest) throw new Error('expected a writer on this pipe, found none');
    else await pause(LOOK_EVERY_MS);
    bytes += part?.length ?? 0;
  }
  throw new Error(`expected at most ${MAX_BYTES} bytes, found more`);
}

/** Returns `undefined` while a writer has not written data yet. */
async function readSome(handle: FileHandle): Promise<Buffer | undefined> {
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(PART_BYTES), 0, PART_BYTES, null);
    return buffer.subarray(0, bytesRead);
  } catch (reason) {
    if (reason instanceof Error && 'code' in reason && reason.code === 'EAGAIN') return undefined;
    throw reason;
  }
}

const PART_BYTES = 64 * 1024;
/** Long enough for a writer to render a template. */
const PIPE_PATIENCE_MS = 5_000;
const LOOK_EVERY_MS = 20;
