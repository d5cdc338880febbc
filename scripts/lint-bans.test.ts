import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from './workspace.mjs';

/**
 * One row: what is banned, the file, its content, and a part of the expected reason; without a reason it is allowed
 * there.
 */
const CASES: readonly (readonly [claim: string, file: string, text: string, reason?: string])[] = [
  [
    'AbortSignal.any in a package',
    'packages/a/src/any.ts',
    'export const s = AbortSignal.any([]);',
    'it retains memory',
  ],
  ['AbortSignal.any in a test', 'packages/a/test/any.ts', 'export const s = AbortSignal.any([]);', 'it retains memory'],
  ['Date.now', 'packages/a/src/now.ts', 'export const t = Date.now();', 'performance.now()'],
  [
    'EventEmitter',
    'packages/a/src/emit.ts',
    "import { EventEmitter } from 'node:events';\nexport const e = EventEmitter;",
    'untyped',
  ],
  [
    'once of node:events is fine',
    'packages/a/src/once.ts',
    "import { once } from 'node:events';\nexport const o = once;",
  ],
  [
    'process.env in a package',
    'packages/a/src/env.ts',
    'export const e = process.env;',
    'only the app reads the environment',
  ],
  [
    'process.exit in a package',
    'packages/a/src/exit.ts',
    'export const e = (): never => process.exit(1);',
    'only the app decides',
  ],
  ['process.env in a test is fine', 'packages/a/test/env.ts', 'export const e = process.env;'],
  ['process.env in the app is fine', 'apps/a/src/env.ts', 'export const e = process.env;'],
  ['console in a package', 'packages/a/src/say.ts', "console.log('hello');", 'no-console'],
  ['console in a script is fine', 'scripts/say.mjs', "console.log('hello');"],
  [
    'a builtin without node:',
    'packages/a/src/path.ts',
    "import { join } from 'path';\nexport const j = join;",
    'node:path',
  ],
  ['a default export', 'packages/a/src/default.ts', 'export default 1;', 'default export'],
  ['a default export of a plugin module is fine', 'packages/a/src/plugin.ts', 'export default 1;'],
  ['any', 'packages/a/src/loose.ts', 'export const f = (x: any): unknown => x;', 'no-explicit-any'],
  [
    'a non-null assertion',
    'packages/a/src/sure.ts',
    'export const f = (x?: string): string => x!;',
    'no-non-null-assertion',
  ],
  [
    'a type imported as a value',
    'packages/a/src/type.ts',
    "import { Socket } from 'node:net';\nexport type S = Socket;",
    'consistent-type-imports',
  ],
];

describe('the linter', () => {
  const folder = mkdtempSync(join(tmpdir(), 'meshgate-lint-'));
  let report: readonly {
    readonly filename: string;
    readonly message: string;
    readonly code: string;
    readonly help?: string;
  }[] = [];

  beforeAll(() => {
    copyFileSync(join(ROOT, '.oxlintrc.json'), join(folder, '.oxlintrc.json'));
    copyFileSync(join(ROOT, 'tsconfig.base.json'), join(folder, 'tsconfig.json'));
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
    for (const [, file, text] of CASES) {
      mkdirSync(dirname(join(folder, file)), { recursive: true });
      writeFileSync(join(folder, file), `${text}\n`);
    }
    const oxlint = join(ROOT, 'node_modules', '.bin', 'oxlint');
    const { stdout } = spawnSync(oxlint, ['--format', 'json'], { cwd: folder, encoding: 'utf8' });
    report = JSON.parse(stdout).diagnostics;
  });

  afterAll(() => rmSync(folder, { recursive: true }));

  it.each(CASES.map(([claim, file, , reason]) => ({ claim, file, reason })))('$claim', ({ file, reason }) => {
    const logged = report
      .filter(({ filename }) => filename.endsWith(file))
      .map(({ message, code, help = '' }) => `${message} ${code} ${help}`);
    if (reason === undefined) expect(logged).toEqual([]);
    else expect(logged).toEqual([expect.stringContaining(reason)]);
  });
});
