import { execFile } from 'node:child_process';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { meshSource, readMesh } from '../src/index.ts';
import { meshFolder, type MeshFileContents, PRIMARY } from './mesh-folder.ts';

const SERVICES = 2_000;
const numbers = Array.from({ length: SERVICES }, (_, index) => index);
const few = numbers.slice(0, 600);

const FOLDERS: Readonly<Record<string, MeshFileContents>> = {
  'one file of blocks': { 'primary/all.hcl': numbers.map(block).join('') },
  'one list': { 'primary/all.hcl': `services = [\n${numbers.map((n) => `${definition(n)},\n`).join('')}]\n` },
  'one file of JSON': {
    'primary/all.json': JSON.stringify({
      services: numbers.map((n) => ({ name: `s${n}`, port: 80, connect: { native: true } })),
    }),
  },
  'many files': Object.fromEntries(few.map((n) => [`primary/s${n}.hcl`, block(n)])),
};

describe('a large folder of mesh files', () => {
  it.each(Object.entries(FOLDERS))(
    'does not block the event loop while it is read and routed: %s',
    async (_what, contents) => {
      const folder = await meshFolder(contents);
      const ended = new AbortController();
      const watch = meshSource({ ...PRIMARY, folder }).watch(ended.signal);
      const snapshots = watch[Symbol.asyncIterator]();
      const next = snapshots.next();
      const reading = next.then(() => 'read');
      let turns = 0;
      while ((await Promise.race([reading, setImmediate('turn')])) === 'turn') turns += 1;
      // In one go only reading would leave turns to others, not parsing.
      expect(turns).toBeGreaterThan(10);
      const count = Object.keys(contents).length > 1 ? few.length : SERVICES;
      expect((await next).value).toMatchObject({ routes: { length: count } });
      ended.abort();
    },
  );

  it.skipIf(process.platform === 'win32')('leaves descriptors for others', async () => {
    const folder = await meshFolder(FOLDERS['many files'] ?? {});
    const source = new URL('../dist/index.js', import.meta.url).href;
    const script = `
      const { readMesh } = await import(${JSON.stringify(source)});
      const mesh = await readMesh(${JSON.stringify(folder)}, ${JSON.stringify(PRIMARY)});
      console.log(mesh.catalogs.get('primary').services.length);`;
    const args = ['-c', 'ulimit -n 256 && exec "$0" --input-type=module -e "$1"', process.execPath, script];
    expect((await promisify(execFile)('/bin/sh', args)).stdout).toBe(`${few.length}\n`);
  });

  it('is read once for any number of concurrent readers', async () => {
    const folder = await meshFolder({ 'primary/all.hcl': FOLDERS['one list']?.['primary/all.hcl'] ?? '' });
    const ended = new AbortController();
    const source = meshSource({ ...PRIMARY, folder });
    const watches = [1, 2, 3].map(() => source.watch(ended.signal)[Symbol.asyncIterator]());
    const snapshots = await Promise.all(watches.map(async (watch) => (await watch.next()).value));
    const { catalogs } = await readMesh(folder, PRIMARY);
    expect(catalogs.get('primary')?.services).toHaveLength(SERVICES);
    for (const snapshot of snapshots) expect(snapshot).toEqual(snapshots[0]);
    ended.abort();
  });
});

function definition(number: number): string {
  return `{ name = "s${number}", port = 80, connect { native = true } }`;
}

function block(number: number): string {
  return `service ${definition(number)}\n`;
}
