import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { FolderWatchers } from '../src/folder-watchers.ts';
import { type WatchStep, watchPathOf, watchPathTo } from '../src/watch-path.ts';

describe('the path to a file', () => {
  it('contains every folder in which a name is looked up, including those of links', async () => {
    const root = await temporary();
    await mkdir(join(root, 'real/..1'), { recursive: true });
    await writeFile(join(root, 'real/..1/a.yaml'), '');
    await symlink('..1', join(root, 'real/..data'));
    await symlink('..data/a.yaml', join(root, 'real/a.yaml'));
    await symlink(join(root, 'real'), join(root, 'alias'));
    expect(await below(root, join(root, 'alias/a.yaml'))).toEqual([
      'alias',
      'real',
      'real/a.yaml',
      'real/..data',
      'real/..1',
      'real/..1/a.yaml',
    ]);
  });

  it('ends at a missing name', async () => {
    const root = await temporary();
    expect(await below(root, join(root, 'a/b/c.yaml'))).toEqual(['a']);
  });

  it('ends with everything in a folder, and the paths of the links that are read there', async () => {
    const root = await temporary();
    await mkdir(join(root, 'd'));
    await writeFile(join(root, 'd/plain.yaml'), '');
    await writeFile(join(root, 'target'), '');
    await symlink('../target', join(root, 'd/link.yaml'));
    await symlink('../target', join(root, 'd/link.txt'));
    const walked = shown(root, await watchPathTo(join(root, 'd'), ['.yaml']));
    expect(walked).toEqual(['d', 'd/*', 'd', 'd/link.yaml', 'd/..', 'target']);
  });

  it('does not loop', async () => {
    const root = await temporary();
    await symlink('loop', join(root, 'loop'));
    const walked = await watchPathOf(join(root, 'loop'));
    expect(walked.at(-1)?.name).toBe('loop');
    expect(walked.length).toBeLessThan(100);
  });
});

describe('watchers of folders', () => {
  it('report which folder they cannot watch', () => {
    const watchers = new FolderWatchers(() => expect.unreachable());
    const missing = join(tmpdir(), 'file-source-that-is-not-there');
    expect(watchers.set([{ folder: missing, id: '1', name: 'a' }])).toEqual([{ folder: missing, code: 'ENOENT' }]);
    watchers.close();
  });
});

/** The part of the path below `root`. A link to an absolute path descends to `root` again, which is left out. */
function shown(root: string, walked: readonly WatchStep[]): readonly string[] {
  const inside = walked.filter(({ folder }) => `${folder}/`.startsWith(`${root}/`));
  return inside.map(({ folder, name }) => `${folder}/${name ?? '*'}`.slice(root.length + 1));
}

async function below(root: string, path: string): Promise<readonly string[]> {
  return shown(root, await watchPathOf(path));
}

async function temporary(): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'file-source-')));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}
