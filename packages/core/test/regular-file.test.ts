import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readRegularFile, readRegularFileSync } from '../src/regular-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'meshgate-regular-'));
afterAll(() => rmSync(folder, { recursive: true }));

const ODD: readonly (readonly [what: string, make: (path: string) => unknown, words: RegExp])[] = [
  ['a folder', (path) => mkdirSync(path), /^expected a regular file, found a folder, open '.*'$/],
  [
    'a pipe into which nobody writes',
    (path) => execFileSync('mkfifo', [path]),
    /^expected a regular file, found a pipe, open '.*'$/,
  ],
  [
    'a device without an end',
    (path) => symlinkSync('/dev/zero', path),
    /^expected a regular file, found a device, open '.*'$/,
  ],
  ['nothing', () => undefined, /^ENOENT/],
  ['a link to itself', (path) => symlinkSync(path, path), /^ELOOP/],
  ['a link to nothing', (path) => symlinkSync('nowhere', path), /^ENOENT/],
  [
    'a disk image',
    (path) => {
      writeFileSync(path, '');
      truncateSync(path, 2 ** 30);
    },
    /^expected at most 16777216 bytes, found 1073741824, open '.*'$/,
  ],
  [
    'a program',
    (path) => writeFileSync(path, Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 0xff)),
    /^expected UTF-8, found other bytes in line 1, open '.*'$/,
  ],
  [
    'a text in Latin-1',
    (path) => writeFileSync(path, Buffer.from('a: b\n# B\u{FC}ro\n', 'latin1')),
    /^expected UTF-8, found other bytes in line 2, open '.*'$/,
  ],
  [
    'a text of Windows in UTF-16',
    (path) => writeFileSync(path, Buffer.from('\uFEFFa: b\n', 'utf16le')),
    /^expected UTF-8, found UTF-16, open '.*'$/,
  ],
];

describe('in place of a file', () => {
  it.each(ODD)('%s is rejected at once, with a reason', async (what, make, words) => {
    const path = join(folder, what.replaceAll(' ', '-'));
    make(path);
    await expect(readRegularFile(path)).rejects.toThrow(words);
    expect(() => readRegularFileSync(path)).toThrow(words);
  });

  it('one with comments in another encoding is read where the caller allows it, its ASCII as it is', async () => {
    const path = join(folder, 'latin-1');
    writeFileSync(path, Buffer.from('\u{FFFD}# B\u{FC}ro\n10.0.0.1 db\n', 'latin1'));
    const read = await readRegularFile(path, { otherBytes: 'replace' });
    expect(read.split('\n')[1]).toBe('10.0.0.1 db');
    await expect(readRegularFile(path)).rejects.toThrow(/^expected UTF-8/);
  });

  it('a regular one is read, without a byte order mark', async () => {
    const path = join(folder, 'regular');
    writeFileSync(path, '\uFEFFa: b\n');
    expect([await readRegularFile(path), readRegularFileSync(path)]).toEqual(['a: b\n', 'a: b\n']);
  });
});
