import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { ConfigProblems } from '@meshgate/core';
import { errorOf } from '@meshgate/core/parts';

/**
 * Reads a configuration file: a regular one, or a pipe (`/dev/stdin`, `<(…)` of a shell) into which somebody writes, or `/dev/null`.
 *
 * @throws ConfigProblems when it cannot be read, is too large, or is a pipe into which nobody writes
 */
export async function readConfigText(file: string): Promise<string> {
  try {
    // Opened without waiting for a writer (open(2)); of a regular file that changes nothing.
    const handle = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(await readToEnd(handle));
    } finally {
      await handle.close();
    }
  } catch (reason) {
    const isOther = reason instanceof TypeError;
    const message = `cannot be read: ${isOther ? 'expected UTF-8, found other bytes' : errorOf(reason).message}`;
    throw new ConfigProblems([{ message, path: [], at: { file, line: 1, column: 1 } }]);
  }
}

/** A thousand times what a configuration takes. */
const MAX_BYTES = 16 * 1024 * 1024;

async function readToEnd(handle: FileHandle): Promise<Buffer> {
  const isPipe = (await handle.stat()).isFIFO();
  const latest = performance.now() + PIPE_PATIENCE_MS;
  const parts: Buffer[] = [];
  for (let bytes = 0; bytes <= MAX_BYTES;) {
    const part = await readSome(handle);
    if (part !== undefined && part.length > 0) parts.push(part);
    else if (part?.length === 0 && !(isPipe && bytes === 0)) return Buffer.concat(parts);
    else if (performance.now() > latest) throw new Error('expected somebody to write into this pipe, found nobody');
    else await pause(LOOK_EVERY_MS);
    bytes += part?.length ?? 0;
  }
  throw new Error(`expected at most ${MAX_BYTES} bytes, found more`);
}

/** `undefined`: there is nothing yet, and somebody may write some. */
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
/** A template that is rendered into a pipe takes less. */
const PIPE_PATIENCE_MS = 5_000;
const LOOK_EVERY_MS = 20;
