import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { expect } from '../../runner.ts';
import type { Connection } from '@meshgate/core';
import type { Peer } from '../../peer.ts';

/** Returns random bytes, which no other part of a test sends. */
export function payload(count: number): Uint8Array {
  return new Uint8Array(randomBytes(count));
}

/** Compares by length and digest: a diff of megabytes is not readable. */
export function expectSameBytes(found: Uint8Array, expected: Uint8Array): void {
  expect(found.length, 'number of bytes').toBe(expected.length);
  expect(digest(found), 'digest of the bytes').toBe(digest(expected));
}

/** Reads everything that `connection` receives until its peer has finished. */
export async function readAll(connection: Connection): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for (let bytes = await connection.read(); bytes !== undefined; bytes = await connection.read()) {
    // A copy: `slice` would be a view if this is one of Node's buffers.
    chunks.push(new Uint8Array(bytes));
    // The reader owns the bytes and may modify them: later reads must not be affected.
    bytes.fill(0);
  }
  return Buffer.concat(chunks);
}

/** Reads until `count` bytes have arrived. */
export async function readBytes(connection: Connection, count: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for (let missing = count; missing > 0;) {
    const bytes = await connection.read();
    if (bytes === undefined) throw new Error(`expected ${count} bytes, found the end with ${missing} missing`);
    chunks.push(bytes);
    missing -= bytes.length;
  }
  return Buffer.concat(chunks);
}

/** A sender that is blocked because its peer does not read. */
export interface Stalled {
  /** All bytes written, including the last chunk, which is still pending. */
  readonly sent: Uint8Array;
  /** The write of the last chunk. */
  readonly pending: Promise<void>;
}

/**
 * Writes until a write has to wait. Rejects if none does: something then buffers without bound.
 *
 * All other work in this thread, including the transport, runs between two writes: a real sender would not block it
 * either.
 */
export async function writeUntilStalled(to: Pick<Connection, 'write'> | Pick<Peer, 'send'>): Promise<Stalled> {
  const chunks: Uint8Array[] = [];
  for (let count = 0; count < MOST_THAT_BUFFERS_HOLD_BYTES; count += CHUNK_BYTES) {
    const chunk = payload(CHUNK_BYTES);
    chunks.push(chunk.slice());
    const pending = 'write' in to ? to.write(chunk) : to.send(chunk);
    pending.catch(() => undefined);
    const state = await Promise.race([pending.then(() => 'taken'), pause(STALLED_AFTER_MS, 'stalled')]);
    if (state === 'stalled') return { sent: Buffer.concat(chunks), pending };
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error(`expected writes to wait for a reader, found ${MOST_THAT_BUFFERS_HOLD_BYTES} bytes taken from it`);
}

const CHUNK_BYTES = 1024 * 1024;
// Two pairs of kernel buffers, each up to 36 MiB on current Linux (tcp_rmem, tcp_wmem), and as much again.
const MOST_THAT_BUFFERS_HOLD_BYTES = 144 * 1024 * 1024;
// A write that does not block takes well under a millisecond.
const STALLED_AFTER_MS = 300;

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
