import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Creates `folder` and its missing parents, accessible to their owner only. Node's own recursive `mkdir` never ends, at
 * full CPU, where the system refuses a folder with `ENOENT` although its parent exists, as below /proc and automounts.
 */
export async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, OWNER_ONLY);
  } catch (reason) {
    if (codeOf(reason) === 'EEXIST' && (await isFolder(folder))) return;
    const parent = dirname(folder);
    if (codeOf(reason) !== 'ENOENT' || parent === folder || (await isFolder(parent))) throw reason;
    await makeFolder(parent);
    await mkdir(folder, OWNER_ONLY).catch((again: unknown) => {
      if (codeOf(again) !== 'EEXIST') throw again;
    });
  }
}

const OWNER_ONLY = { mode: 0o700 };

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

function codeOf(reason: unknown): unknown {
  return reason instanceof Error && 'code' in reason ? reason.code : undefined;
}
