import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigProblems } from '@meshgate/core';
import { fakeHost } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { consulPlugin, optionsOf, parseSettings } from '../src/index.ts';
import { durationMs } from '../src/records.ts';

describe('the settings of the Consul source', () => {
  it('are all named at once when they are wrong, with the key that was meant', () => {
    const config = {
      adress: 'x',
      token: 5,
      zzzzzzzz: 1,
      register: { wanAdress: 'x', exposeServers: 'yes', bindAddresses: 5 },
    };
    expect(problemsOf(() => parseSettings(config))).toEqual([
      'adress: unknown key "adress": did you mean "address"?',
      expect.stringContaining('zzzzzzzz: unknown key "zzzzzzzz": known keys are address, token'),
      'token: expected a string, found the number 5',
      'register.wanAdress: unknown key "wanAdress": did you mean "wanAddress"?',
      'register.bindAddresses: expected a mapping, found the number 5',
      'register.exposeServers: expected true or false, found "yes"',
    ]);
  });

  it.each([undefined, null, {}])('may be %j', (config) => {
    expect(parseSettings(config)).toEqual({});
  });

  it('name files relative to the configuration', () => {
    const folder = mkdtempSync(join(tmpdir(), 'meshgate-options-'));
    for (const file of ['ca.pem', 'token']) writeFileSync(join(folder, file), file);
    const options = optionsOf({ caFile: 'ca.pem', caPath: '.', tokenFile: 'token', address: 'https://a:8501' }, folder);
    const tls = { caFile: join(folder, 'ca.pem'), caPath: folder };
    expect(options).toEqual({ address: 'https://a:8501', tls, tokenFile: join(folder, 'token') });
  });

  it.each([
    [{ token: 'a', tokenFile: 'b' }, 'tokenFile: expected token or tokenFile, found both'],
    [{ certFile: 'a' }, 'certFile: expected keyFile beside certFile, found none'],
    [{ keyFile: 'a' }, 'keyFile: expected certFile beside keyFile, found none'],
  ])('that contradict each other are wrong: %j', (settings, problem) => {
    expect(problemsOf(() => parseSettings(settings))).toEqual([problem]);
  });

  it('that name files which cannot be read are wrong', () => {
    expect(problemsOf(() => optionsOf({ caFile: 'none.pem', caPath: 'none', tokenFile: 't' }, '/nowhere'))).toEqual([
      expect.stringContaining('caFile: ENOENT'),
      expect.stringContaining('caPath: ENOENT'),
      expect.stringContaining('tokenFile: ENOENT'),
    ]);
  });
});

describe('the plugin', () => {
  it('adds routes, listeners and the registration', async () => {
    const parts = await fakeHost().install(consulPlugin, { register: { address: '127.0.0.1:8443' } });
    const names = [parts.sources, parts.listenerSources, parts.services].flat().map(({ name }) => name);
    expect(names).toEqual(['consul', 'consul', 'consul-registration']);
  });

  it('refuses a registration that cannot be', () => {
    const { host } = fakeHost();
    const install = (): unknown => consulPlugin.install(host, { register: { address: 'nonsense' } });
    expect(problemsOf(install)).toEqual([expect.stringContaining('register.address: expected an address')]);
  });
});

it.each<readonly [text: unknown, expected: number | undefined]>([
  ['5s', 5_000],
  ['1m30s', 90_000],
  ['250ms', 250],
  ['1.5h', 5_400_000],
  [2_000_000_000, 2_000],
  ['', undefined],
  ['5', undefined],
  ['5 s', undefined],
  [undefined, undefined],
])('the duration %j is %s ms', (text, expected) => {
  expect(durationMs(text)).toBe(expected);
});

function problemsOf(run: () => unknown): readonly string[] {
  try {
    run();
  } catch (reason) {
    if (reason instanceof ConfigProblems) return reason.message.split('\n');
    throw reason;
  }
  return [];
}
