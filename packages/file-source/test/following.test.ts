import { chmod, mkdir, mkdtemp, open, realpath, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigProblems, type RouteSnapshot } from '@meshgate/core';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { fileSource, type FileSource } from '../src/index.ts';

describe('a file that is followed', () => {
  it('is yielded once without a change, and again after each', async () => {
    const { file, seen } = await followedFile();
    expect(names(await seen.next())).toEqual(['one']);
    await writeFile(file, routes('two'));
    expect(names(await seen.next())).toEqual(['two']);
    await writeFile(file, routes('three'));
    expect(names(await seen.next())).toEqual(['three']);
  });

  it('may be renamed over, again and again', async () => {
    const { folder, file, seen } = await followedFile();
    await seen.next();
    for (const name of ['two', 'three', 'four']) {
      await replace(join(folder, '.routes.tmp'), file, name);
      expect(await seen.next()).toMatchObject({ routes: [{ name }] });
    }
  });

  it('may be saved by an editor that first renames the old one', async () => {
    const { file, seen } = await followedFile();
    await seen.next();
    await rename(file, `${file}~`);
    await writeFile(file, routes('two'));
    expect(await seen.until('two')).toEqual(['one', 'two']);
  });

  it('never loses a route while it is written piece by piece', async () => {
    const { file, seen } = await followedFile();
    await seen.next();
    const handle = await open(file, 'w');
    for (const piece of routes('two', 'three').match(/[^]{1,3}/g) ?? []) await handle.write(piece);
    await handle.close();
    expect(await seen.until('two,three')).toEqual(['one', 'two,three']);
  });

  it('may disappear and return: its last good routes stay, with a warning with the position', async () => {
    const { file, seen } = await followedFile();
    const good = await seen.next();
    await unlink(file);
    const gone = await seen.next();
    expect(gone.routes).toEqual(good.routes);
    expect(gone.version).not.toBe(good.version);
    expect(gone.warnings?.[0]).toBe(`${file}:1:1: cannot be read: no such file or directory`);
    await writeFile(file, routes('one'));
    expect(await seen.next()).toEqual(good);
  });

  it('may be in a folder that is moved away, and is followed into its replacement', async () => {
    const { folder, seen } = await followedFile();
    await seen.next();
    await mkdir(`${folder}.new`);
    await writeFile(join(`${folder}.new`, 'routes.yaml'), routes('two'));
    await rename(folder, `${folder}.old`);
    await rename(`${folder}.new`, folder);
    await seen.until('two');
    await writeFile(join(folder, 'routes.yaml'), routes('three'));
    await seen.until('three');
  });

  it('may be in a folder that is deleted with all parents and created again', async () => {
    const root = await temporary();
    const file = join(root, 'a/b/routes.yaml');
    await mkdir(join(root, 'a/b'), { recursive: true });
    await writeFile(file, routes('one'));
    const seen = follow(fileSource({ path: file, pollMs: 0 }));
    await seen.next();
    for (const name of ['two', 'three']) {
      await rm(join(root, 'a'), { recursive: true });
      expect((await seen.next()).warnings).toBeDefined();
      await mkdir(join(root, 'a/b'), { recursive: true });
      await writeFile(file, routes(name));
      await seen.until(name);
    }
  });

  it('may be a link to a file elsewhere, which is then changed', async () => {
    const folder = await temporary();
    const elsewhere = await temporary();
    await writeFile(join(elsewhere, 'target.yaml'), routes('one'));
    await symlink(join(elsewhere, 'target.yaml'), join(folder, 'routes.yaml'));
    const seen = follow(fileSource({ path: join(folder, 'routes.yaml'), pollMs: 0 }));
    await seen.next();
    await writeFile(join(elsewhere, 'target.yaml'), routes('two'));
    expect(names(await seen.next())).toEqual(['two']);
  });

  it('is not yielded again when it is written with the same bytes', async () => {
    const { file, seen } = await followedFile();
    await seen.next();
    await writeFile(file, routes('one'));
    await chmod(file, 0o600);
    await writeFile(file, routes('two'));
    expect(names(await seen.next())).toEqual(['two']);
  });
});

describe('an invalid file', () => {
  it('removes no route: every problem is a warning with its position, until it is fixed', async () => {
    const start = new Date();
    const { file, seen } = await followedFile();
    const good = await seen.next();
    expect(good.asOf).toBeUndefined();
    await writeFile(file, 'routes:\n  - { serverNames: [ a ], backend: [], port: 1 }\n');
    const broken = await seen.next();
    const { asOf = new Date(NaN) } = broken;
    expect([start <= asOf, asOf <= new Date()]).toEqual([true, true]);
    expect(broken.routes).toEqual(good.routes);
    expect(broken.warnings).toEqual([
      `${file}:2:27: unknown key "backend": did you mean "backends"?`,
      `${file}:2:40: unknown key "port": known keys are name, serverNames, listeners, fallback, backends, balance, connectTimeout, retryBeforeFirstByte, onBackendRemoved, onBackendDown, healthCheck, failover, egress, access, limits, proxyProtocol, use`,
      'the last good routes stay in use until the problems above are fixed',
    ]);
    await writeFile(file, 'routes: [');
    const other = await seen.next();
    expect(other.version).not.toBe(broken.version);
    expect(other.asOf).toEqual(asOf);
    await writeFile(file, routes('two'));
    const fixed = await seen.next();
    expect([names(fixed), fixed.warnings, fixed.asOf]).toEqual([['two'], undefined, undefined]);
  });

  it('is thrown with every problem when it is the first reading, and read when the source is restarted', async () => {
    const file = join(await temporary(), 'routes.yaml');
    const source = fileSource({ path: file, pollMs: 0 });
    await writeFile(file, 'routes: [ {}, {} ]');
    const failure = await follow(source)
      .next()
      .catch((reason: unknown) => reason);
    expect(failure).toBeInstanceOf(ConfigProblems);
    expect((failure as ConfigProblems).problems).toHaveLength(4);
    await writeFile(file, routes('one'));
    expect(names(await follow(source).next())).toEqual(['one']);
  });

  it('is thrown when it does not exist yet, and read when it has been created', async () => {
    const file = join(await temporary(), 'routes.yaml');
    const source = fileSource({ path: file, pollMs: 0 });
    await expect(follow(source).next()).rejects.toThrow(`${file}:1:1: cannot be read: no such file or directory`);
    await writeFile(file, routes('one'));
    expect(names(await follow(source).next())).toEqual(['one']);
  });
});

describe('a folder that is followed', () => {
  it('has the routes of all files in the order of their names; files are created, changed and deleted', async () => {
    const folder = await temporary();
    await writeFile(join(folder, 'b.yml'), routes('b'));
    await writeFile(join(folder, 'a.json'), JSON.stringify({ routes: [{ serverNames: ['a'], backends: [] }] }));
    await writeFile(join(folder, '.hidden.yaml'), 'broken: [');
    await writeFile(join(folder, 'b.yml~'), 'broken: [');
    await mkdir(join(folder, 'c.yaml'));
    const seen = follow(fileSource({ path: folder, pollMs: 0 }));
    expect(names(await seen.next())).toEqual(['a', 'b']);
    await writeFile(join(folder, 'aa.yaml'), routes('aa'));
    expect(names(await seen.next())).toEqual(['a', 'aa', 'b']);
    await writeFile(join(folder, 'b.yml'), routes('bb'));
    expect(names(await seen.next())).toEqual(['a', 'aa', 'bb']);
    await unlink(join(folder, 'a.json'));
    expect(names(await seen.next())).toEqual(['aa', 'bb']);
  });

  it('keeps all its routes while one file is invalid, repeats a name of another, or the last file is gone', async () => {
    const folder = await temporary();
    const [first, second] = [join(folder, '1.yaml'), join(folder, '2.yaml')];
    await writeFile(first, routes('one'));
    const seen = follow(fileSource({ path: folder, pollMs: 0 }));
    await seen.next();
    await writeFile(second, routes('one'));
    expect(await seen.next()).toMatchObject({
      routes: [{ name: 'one' }],
      warnings: [expect.stringContaining(first), expect.anything()],
    });
    await writeFile(second, routes('two'));
    expect(names(await seen.next())).toEqual(['one', 'two']);
    await Promise.all([unlink(first), unlink(second)]);
    const empty = await seen.until('one,two', (snapshot) => snapshot.warnings !== undefined);
    expect(empty.at(-1)).toBe('one,two');
  });

  it('follows the other files while one is invalid, which counts with its last contents', async () => {
    const folder = await temporary();
    const [first, second] = [join(folder, '1.yaml'), join(folder, '2.yaml')];
    await Promise.all([writeFile(first, routes('one')), writeFile(second, routes('two'))]);
    const seen = follow(fileSource({ path: folder, pollMs: 0 }));
    expect(names(await seen.next())).toEqual(['one', 'two']);
    await writeFile(first, 'routes: [');
    expect(await seen.next()).toMatchObject({
      routes: [{ name: 'one' }, { name: 'two' }],
      warnings: [expect.stringContaining(`${first}:1:`), expect.stringContaining('changes of other files are applied')],
    });
    await writeFile(second, routes('three'));
    const third = await seen.next();
    expect(names(third)).toEqual(['one', 'three']);
    expect(third.warnings?.[0]).toContain(`${first}:1:`);
    await writeFile(first, routes('four'));
    const fixed = await seen.next();
    expect([names(fixed), fixed.warnings]).toEqual([['four', 'three'], undefined]);
  });

  it('has nothing of a new invalid file, and all of the others', async () => {
    const folder = await temporary();
    await writeFile(join(folder, '1.yaml'), routes('one'));
    const seen = follow(fileSource({ path: folder, pollMs: 0 }));
    await seen.next();
    await writeFile(join(folder, '2.yaml'), '{');
    expect(await seen.next()).toMatchObject({ routes: [{ name: 'one' }] });
    await writeFile(join(folder, '1.yaml'), routes('three'));
    expect(names(await seen.next())).toEqual(['three']);
  });

  it('reports for each file why it cannot be read', async () => {
    const folder = await temporary();
    await writeFile(join(folder, 'a.yaml'), routes('one'));
    const seen = follow(fileSource({ path: folder, pollMs: 0 }));
    await seen.next();
    for (const name of ['b.yaml', 'c.yaml']) {
      await symlink('nowhere', join(folder, name));
      const expected = `${join(folder, name)}:1:1: cannot be read: no such file or directory`;
      expect((await seen.next()).warnings?.[0]).toBe(expected);
      await rename(join(folder, name), join(folder, '.hidden'));
      expect((await seen.next()).warnings).toBeUndefined();
    }
    await writeFile(join(folder, 'd.yaml'), Buffer.from([0xff, 0xfe]));
    expect((await seen.next()).warnings?.[0]).toContain('d.yaml:1:1: cannot be read: expected UTF-8, found UTF-16');
  });

  it('may be replaced as a whole', async () => {
    const root = await temporary();
    const folder = join(root, 'routes.d');
    await mkdir(folder);
    await writeFile(join(folder, 'a.yaml'), routes('one'));
    const seen = follow(fileSource({ path: folder, pollMs: 0 }));
    await seen.next();
    for (const name of ['two', 'three']) {
      await mkdir(join(root, 'new'));
      await writeFile(join(root, 'new/a.yaml'), routes(name));
      await rm(folder, { recursive: true });
      await rename(join(root, 'new'), folder);
      await seen.until(name);
    }
  });
});

describe("a volume that is written like Kubernetes' kubelet does", () => {
  it.each(['file', 'folder'])('is followed through every swap of its link, given as a %s', async (kind) => {
    const volume = await temporary();
    await publish(volume, '..2024_01_01_00_00_00.1', { 'a.yaml': routes('one') });
    await symlink('..data/a.yaml', join(volume, 'a.yaml'));
    const seen = follow(fileSource({ path: kind === 'file' ? join(volume, 'a.yaml') : volume, pollMs: 0 }));
    expect(names(await seen.next())).toEqual(['one']);
    for (const [index, name] of ['two', 'three', 'four'].entries()) {
      await publish(volume, `..2024_01_01_00_00_00.${index + 2}`, { 'a.yaml': routes(name) });
      await rm(join(volume, `..2024_01_01_00_00_00.${index + 1}`), { recursive: true });
      expect(await seen.next()).toMatchObject({ routes: [{ name }] });
    }
  });

  it('is followed although the old version is never deleted', async () => {
    const volume = await temporary();
    await publish(volume, '..1', { 'a.yaml': routes('one') });
    await symlink('..data/a.yaml', join(volume, 'a.yaml'));
    const seen = follow(fileSource({ path: join(volume, 'a.yaml'), pollMs: 0 }));
    await seen.next();
    await publish(volume, '..2', { 'a.yaml': routes('two') });
    expect(names(await seen.next())).toEqual(['two']);
  });

  it('has files added and removed', async () => {
    const volume = await temporary();
    await publish(volume, '..1', { 'a.yaml': routes('a') });
    await symlink('..data/a.yaml', join(volume, 'a.yaml'));
    const seen = follow(fileSource({ path: volume, pollMs: 0 }));
    await seen.next();
    await publish(volume, '..2', { 'a.yaml': routes('a'), 'b.yaml': routes('b') });
    await symlink('..data/b.yaml', join(volume, 'b.yaml'));
    await seen.until('a,b');
    await publish(volume, '..3', { 'b.yaml': routes('b') });
    await unlink(join(volume, 'a.yaml'));
    await seen.until('b');
  });
});

describe('a file source', () => {
  it('reads again on refresh', async () => {
    const { source, file, seen } = await followedFile();
    await seen.next();
    await writeFile(file, routes('two'));
    source.refresh();
    expect(await seen.until('two')).toContain('two');
  });

  it('is independent of another source of the same file', async () => {
    const { file, seen } = await followedFile();
    const other = follow(fileSource({ path: file, pollMs: 0 }));
    await Promise.all([seen.next(), other.next()]);
    other.abort();
    await writeFile(file, routes('two'));
    expect(names(await seen.next())).toEqual(['two']);
    expect(await other.done()).toBe(true);
  });

  it('leaves no watcher behind when it is aborted, and may be watched again', async () => {
    const before = watcherCount();
    const { source, seen } = await followedFile();
    await seen.next();
    const waiting = seen.done();
    expect(watcherCount()).toBeGreaterThan(before);
    seen.abort();
    await vi.waitFor(() => expect(watcherCount()).toBe(before));
    expect(await waiting).toBe(true);
    expect(names(await follow(source).next())).toEqual(['one']);
  });

  it('leaves no watcher behind when its reader stops early, or it is aborted before it began', async () => {
    const before = watcherCount();
    const { source } = await followedFile();
    for await (const snapshot of source.watch(new AbortController().signal)) {
      expect(names(snapshot)).toEqual(['one']);
      break;
    }
    for await (const snapshot of source.watch(AbortSignal.abort())) expect.unreachable(snapshot.version);
    await vi.waitFor(() => expect(watcherCount()).toBe(before));
  });

  it('rejects a path that depends on the working directory', () => {
    expect(() => fileSource({ path: 'routes.yaml' })).toThrow('expected an absolute path, found "routes.yaml"');
  });
});

/** Names as routes that each have this one server name. */
function routes(...list: readonly string[]): string {
  const lines = list.map((name) => `  - { serverNames: [ ${name} ], backends: [ { address: 127.0.0.1, port: 1 } ] }\n`);
  return `routes:\n${lines.join('')}`;
}

function names(snapshot: RouteSnapshot): readonly string[] {
  return snapshot.routes.map(({ name }) => name);
}

async function temporary(): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'file-source-')));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

async function replace(temporaryFile: string, file: string, name: string): Promise<void> {
  await writeFile(temporaryFile, routes(name));
  await rename(temporaryFile, file);
}

/** The steps of the kubelet's atomic writer: a new folder, then a link to it that replaces the old link. */
async function publish(volume: string, version: string, files: Readonly<Record<string, string>>): Promise<void> {
  await mkdir(join(volume, version));
  for (const [name, text] of Object.entries(files)) await writeFile(join(volume, version, name), text);
  await symlink(version, join(volume, '..data_tmp'));
  await rename(join(volume, '..data_tmp'), join(volume, '..data'));
}

function watcherCount(): number {
  return process.getActiveResourcesInfo().filter((name) => name.includes('FSEvent')).length;
}

async function followedFile() {
  const folder = join(await temporary(), 'conf');
  await mkdir(folder);
  const file = join(folder, 'routes.yaml');
  await writeFile(file, routes('one'));
  const source = fileSource({ path: file, pollMs: 0 });
  return { folder, file, source, seen: follow(source) };
}

/** A reader of `source`, aborted when the test ends. */
function follow(source: FileSource) {
  const controller = new AbortController();
  const abort = (): void => controller.abort();
  onTestFinished(abort);
  const snapshots = source.watch(controller.signal)[Symbol.asyncIterator]();
  let last = '';
  return { next, until, done: async () => (await snapshots.next()).done, abort };

  async function next(): Promise<RouteSnapshot> {
    const { value, done } = await snapshots.next();
    if (done) throw new Error('expected another snapshot, found the end');
    last = names(value).join(',');
    return value;
  }

  /** Every set of names up to the expected one, each once. */
  async function until(wanted: string, accept = (snapshot: RouteSnapshot) => snapshot.warnings === undefined) {
    const seen = new Set([last]);
    for (let reached = false; !reached;) {
      const snapshot = await next();
      seen.add(last);
      reached = last === wanted && accept(snapshot);
    }
    return [...seen];
  }
}
