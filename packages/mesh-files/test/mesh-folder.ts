import { mkdir, mkdtemp, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';

/** File contents by path inside the folder: `primary/web.hcl`. */
export type MeshFileContents = Readonly<Record<string, string>>;

export const TRUST_DOMAIN = '11111111-2222-3333-4444-555555555555.consul';
export const PRIMARY = { datacenter: 'primary', trustDomain: TRUST_DOMAIN } as const;

/** A folder of mesh files that is removed when the test ends. */
export async function meshFolder(contents: MeshFileContents): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'mesh-files-')));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await writeMesh(folder, contents);
  return folder;
}

/** Writes files into a folder of mesh files, each atomically; creates datacenters as needed. */
export async function writeMesh(folder: string, contents: MeshFileContents): Promise<void> {
  for (const [path, text] of Object.entries(contents)) {
    const file = join(folder, path);
    const hidden = join(dirname(file), `.${basename(file)}.new`);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(hidden, text);
    await rename(hidden, file);
  }
}
