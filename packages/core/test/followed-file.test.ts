import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { FollowedFile } from '../src/names/followed-file.ts';

async function followed(text: string) {
  const folder = await mkdtemp(join(tmpdir(), 'followed-file-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, 'hosts');
  await writeFile(path, text);
  const file = new FollowedFile(path, (read) => read.trim());
  await file.refresh();
  return { folder, path, file };
}

describe('a system file that is followed', () => {
  it('keeps its last contents while it cannot be read, and is read as soon as possible', async () => {
    const { folder, path, file } = await followed('10.0.0.1 db');
    // A folder in place of a file passes stat and fails to read, as a file does when the process has no descriptors
    // left.
    await rm(path);
    await mkdir(path);
    await file.refresh();
    expect([file.value, file.version]).toEqual(['10.0.0.1 db', 1]);
    await rename(path, join(folder, 'away'));
    await writeFile(path, '10.0.0.2 db');
    await file.refresh();
    expect([file.value, file.version]).toEqual(['10.0.0.2 db', 2]);
  });

  it('is empty when it is missing', async () => {
    const { path, file } = await followed('10.0.0.1 db');
    await rm(path);
    await file.refresh();
    expect([file.value, file.version]).toEqual(['', 2]);
  });
});
