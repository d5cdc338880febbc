import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { ConfigProblems, definePlugin, formatProblem, PLUGIN_API_VERSION } from '../src/lifecycle/plugin.ts';
import type { PluginHost } from '../src/lifecycle/plugin.ts';

// Not used here: the gateway provides it.
const HOST = { baseDir: '/etc', process: 'single' } as PluginHost;

/** What the setup of a plugin with this parser receives. */
async function setUpWith(parse: (config: unknown) => unknown, prepare?: (config: unknown) => Promise<unknown>) {
  const got: unknown[] = [];
  const setup = (_host: PluginHost, config: unknown): void => void got.push(config);
  const installed = definePlugin({ name: 'p', parse, ...(prepare !== undefined && { prepare }), setup }).install(
    HOST,
    3,
  );
  const atOnce = got.length;
  await installed;
  return { got, atOnce };
}

describe('a plugin', () => {
  it('is set up at once when its parser answers at once', async () => {
    expect(await setUpWith((config) => ({ config }))).toEqual({ got: [{ config: 3 }], atOnce: 1 });
  });

  it.each<[string, (config: unknown) => unknown]>([
    ['a promise', (config) => Promise.resolve({ config })],
    ['a promise of another realm', (config) => (runInNewContext('Promise') as PromiseConstructor).resolve({ config })],
  ])('never gets %s of its parser in place of the settings', async (_what, parse) => {
    expect(await setUpWith(parse)).toEqual({ got: [{ config: 3 }], atOnce: 0 });
  });

  it('gets what it has prepared of its settings', async () => {
    expect(await setUpWith(Number, async (config) => [config])).toEqual({ got: [[3]], atOnce: 0 });
  });

  it('rejects with what its parser, its preparation or its set-up throws', async () => {
    const no = (): never => {
      throw new Error('no');
    };
    const at = { parse: Number, prepare: async (config: number) => config, setup: () => undefined, name: 'p' };
    expect(() => definePlugin({ ...at, parse: no }).install(HOST, {})).toThrow('no');
    await expect(definePlugin({ ...at, parse: async () => no() }).install(HOST, {})).rejects.toThrow('no');
    await expect(definePlugin({ ...at, prepare: async () => no() }).install(HOST, {})).rejects.toThrow('no');
    await expect(definePlugin({ ...at, setup: no }).install(HOST, {})).rejects.toThrow('no');
  });

  it('says which contracts it was written for', () => {
    expect(definePlugin({ name: 'p', parse: Number, setup: () => undefined })).toMatchObject({
      name: 'p',
      apiVersion: PLUGIN_API_VERSION,
    });
  });
});

describe('problems of a configuration', () => {
  it.each([
    ['where they are in a file', { message: 'm', path: ['a'], at: { file: 'f', line: 2, column: 3 } }, 'f:2:3: m'],
    ['by their keys without one', { message: 'm', path: ['a', 0, 'b'] }, 'a.0.b: m'],
    ['alone when they are about all of it', { message: 'm', path: [] }, 'm'],
  ])('are shown %s', (_where, problem, shown) => {
    expect(formatProblem(problem)).toBe(shown);
    expect(new ConfigProblems([problem, problem]).message).toBe(`${shown}\n${shown}`);
  });

  it.each<[given: unknown, why: string]>([
    ['expected a URL', 'ConfigProblems: expected a list of { message, path }, found a string'],
    [['expected a URL'], 'ConfigProblems: expected { message, path } at 0, found a string'],
    [[{ message: 'expected a URL' }], 'ConfigProblems: expected { message, path } at 0, found an object'],
    [
      [
        { message: 'm', path: [] },
        { message: 'm', path: 'url' },
      ],
      'expected { message, path } at 1, found an object',
    ],
    [undefined, 'ConfigProblems: expected a list of { message, path }, found nothing'],
  ])('are refused when they are none: %j', (given, why) => {
    expect(() => new ConfigProblems(given as never)).toThrow(new TypeError(why).message);
    const copy = Object.assign(new Error('of another copy'), { name: 'ConfigProblems', problems: given });
    expect(copy).not.toBeInstanceOf(ConfigProblems);
  });

  it('are known of another copy of this package, and nothing else is', () => {
    const copy = Object.assign(new Error('m'), { name: 'ConfigProblems', problems: [] });
    expect(
      [copy, new Error('m'), { name: 'ConfigProblems', problems: [] }].map((one) => one instanceof ConfigProblems),
    ).toEqual([true, false, false]);
  });
});
