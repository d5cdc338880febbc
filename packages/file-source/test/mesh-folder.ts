import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';

/** Texts by path inside the folder: `primary/web.hcl`. */
export type MeshTexts = Readonly<Record<string, string>>;

export const TRUST_DOMAIN = '11111111-2222-3333-4444-555555555555.consul';
export const PRIMARY = { datacenter: 'primary', trustDomain: TRUST_DOMAIN } as const;

/** A folder of mesh files that is gone when the test ends. */
export async function meshFolder(texts: MeshTexts): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'mesh-files-')));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await writeMesh(folder, texts);
  return folder;
}

/** Writes files into a folder of mesh files; datacenters are made as needed. */
export async function writeMesh(folder: string, texts: MeshTexts): Promise<void> {
  for (const [path, text] of Object.entries(texts)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
}
