import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type * as Core from '@meshgate/core';
import { ConfigProblems, ProxyError } from '@meshgate/core';
import { describe, expect, it } from 'vitest';

/** A plugin in a folder of its own has its own copy of core: the same code, but other classes. */
async function otherCopy(): Promise<Copy> {
  const folder = await mkdtemp(join(tmpdir(), 'meshgate-test-'));
  for (const part of ['dist', 'src']) await cp(join(CORE, part), join(folder, part), { recursive: true });
  const core = (await import(pathToFileURL(join(folder, 'dist/index.js')).href)) as typeof Core;
  return { core, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
}

interface Copy extends AsyncDisposable {
  readonly core: typeof Core;
}

const CORE = fileURLToPath(new URL('../../core', import.meta.url));

describe('an error of another copy of core', () => {
  it('is a ProxyError and keeps its code', async () => {
    await using other = await otherCopy();
    const error = new other.core.ProxyError('CONNECT_REFUSED', 'not today');
    expect(Object.getPrototypeOf(error)).not.toBe(ProxyError.prototype);
    expect(error).toBeInstanceOf(ProxyError);
    expect(ProxyError.from(error)).toBe(error);
  });

  it('is a list of problems of a configuration', async () => {
    await using other = await otherCopy();
    const error = new other.core.ConfigProblems([{ message: 'expected a url, found none', path: ['url'] }]);
    expect(Object.getPrototypeOf(error)).not.toBe(ConfigProblems.prototype);
    expect(error).toBeInstanceOf(ConfigProblems);
  });
});

it.each<[string, unknown]>([
  ['an error', new Error('x')],
  ['one that only has the name', Object.assign(new Error('x'), { name: 'ProxyError', code: 'ECONNRESET' })],
  ['one that only has the name of the other', Object.assign(new Error('x'), { name: 'ConfigProblems' })],
  ['a value that looks like one', { name: 'ProxyError', code: 'INTERNAL', problems: [] }],
  ['nothing', undefined],
  ['null', null],
])('%s is neither', (_what, value) => {
  expect(value).not.toBeInstanceOf(ProxyError);
  expect(value).not.toBeInstanceOf(ConfigProblems);
});
