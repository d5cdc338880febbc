import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fakeHost } from '@meshgate/testkit';
import { describe, expect, it, onTestFinished } from 'vitest';
import { checkFileSettings, fileSourceOf, fileSourcePlugin, parseFileSourceConfig } from '../src/index.ts';

describe('the plugin', () => {
  it('adds a source with a path relative to the configuration, and a name with the path as written', async () => {
    const baseDir = await mkdtemp(join(tmpdir(), 'file-source-'));
    onTestFinished(() => rm(baseDir, { recursive: true }));
    await writeFile(join(baseDir, 'routes.yaml'), 'routes: [ { serverNames: [ a ], backends: [] } ]');
    const parts = await fakeHost({ baseDir }).install(fileSourcePlugin, { path: 'routes.yaml' });
    const added = parts.sources;
    expect(added.map(({ name }) => name)).toEqual(['file:routes.yaml']);
    for await (const { routes } of added[0]?.watch(new AbortController().signal) ?? []) {
      expect(routes).toMatchObject([{ name: 'a' }]);
      break;
    }
  });

  it('parses its settings', () => {
    expect(parseFileSourceConfig({ path: 'r.d', name: 'static', poll: '5s' })).toEqual({
      path: 'r.d',
      name: 'static',
      pollMs: 5_000,
    });
    expect(fileSourceOf({ path: '/r.d', name: 'static' }, '/etc').name).toBe('static');
  });

  it('checks the files before anything is started', async () => {
    const baseDir = await mkdtemp(join(tmpdir(), 'file-source-'));
    onTestFinished(() => rm(baseDir, { recursive: true }));
    await writeFile(join(baseDir, 'routes.json'), '{}');
    await expect(checkFileSettings({ path: 'routes.json' }, baseDir)).rejects.toThrow('expected the key "routes"');
  });

  it.each([
    [{ paht: 'r' }, 'paht: unknown key "paht": did you mean "path"?'],
    [{}, 'expected the key "path", found none'],
    [undefined, 'expected a mapping, found nothing'],
    ['r.yaml', 'expected a mapping, found "r.yaml"'],
    [{ path: '' }, 'path: expected a string, found ""'],
    [
      { path: 3, poll: 5 },
      'path: expected a string, found the number 3\npoll: expected a duration such as 500ms, 2s, 1m or 1h, or 0s for never, found the number 5',
    ],
  ])('rejects %j', (config, message) => {
    expect(() => parseFileSourceConfig(config)).toThrow(expect.objectContaining({ name: 'ConfigProblems', message }));
  });
});
