// Exports of a module that is used as a plugin, and the errors for invalid ones.
import { definePlugin } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { loadPlugin } from '../src/config/load-plugin.ts';
import { folder } from './daemon.ts';

const MINE = `{ name: 'mine', install() {} }`;

describe('a module is a plugin', () => {
  it.each([
    ['by its default export', 'mine.mjs', `export default ${MINE};`],
    ['by what it exports as CommonJS', 'mine.cjs', `module.exports = ${MINE};`],
    [
      'by a default export that was compiled to CommonJS',
      'mine.cjs',
      `Object.defineProperty(exports, '__esModule', { value: true }); exports.default = ${MINE};`,
    ],
  ])('%s', async (_how, file, text) => {
    await using files = await folder({ [file]: text });
    expect(await loadPlugin(`./${file}`, files.path)).toMatchObject({ name: 'mine' });
  });

  it.each([
    ['export const plugin = 1, other = 2;', 'found only exports named plugin, other'],
    ['await 0;', 'found no export'],
    ['export default (host) => host;', 'found a function'],
    ['export default class Mine {}', 'found a class: export an instance'],
    [`export default Promise.resolve(${MINE});`, 'found a promise'],
    [`export default { name: 'mine', setup() {} };`, 'found an object without install()'],
    ['export default { install() {} };', 'found an object without a name'],
    ['export default null;', 'found nothing'],
    [`\n  throw new Error('no licence');`, 'Error: no licence (at mine.mjs:2:9)'],
    [`const why = () => { throw new Error('no licence'); };\nwhy();`, 'Error: no licence (at mine.mjs:1:27)'],
  ])('and not with %s', async (text, expected) => {
    await using files = await folder({ 'mine.mjs': text });
    await expect(loadPlugin('./mine.mjs', files.path)).rejects.toThrow(expected);
  });

  it('only when it has what definePlugin needs', () => {
    const lie = { name: 'mine', setup: () => undefined } as unknown as Parameters<typeof definePlugin>[0];
    expect(() => definePlugin(lie)).toThrow('definePlugin: expected parse to be a function, found none');
  });
});
