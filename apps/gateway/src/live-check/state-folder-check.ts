import { rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder } from '../run/make-folder.ts';
import type { Finding } from './finding.ts';

/**
 * Checks whether `stateDir` is writable, and creates it if necessary. Writes data, since even a full disk allows new
 * empty files.
 */
export async function checkStateFolder(stateDir: string): Promise<Finding> {
  const check = `stateDir ${stateDir}`;
  const file = join(stateDir, `.check.${process.pid}.tmp`);
  try {
    await makeFolder(stateDir);
    await writeFile(file, Buffer.alloc(PROBE_BYTES), { mode: 0o600, flush: true });
    const { bavail, bsize } = await statfs(stateDir);
    return { check, outcome: 'ok', found: `can be written, ${Math.floor((bavail * bsize) / MIB)} MiB free` };
  } catch (reason) {
    const found = `cannot be written: ${reason instanceof Error ? reason.message : String(reason)}`;
    return { check, outcome: 'failed', found, advice: 'free space, or fix owner and mode of the folder' };
  } finally {
    await rm(file, { force: true }).catch(() => undefined);
  }
}

/** More than fits into an inode. */
const PROBE_BYTES = 64 * 1024;
const MIB = 1024 * 1024;
