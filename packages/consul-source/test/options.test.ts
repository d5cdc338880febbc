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
      'adress: unknown key, did you mean address?',
      'token: expected text, found 5',
      expect.stringContaining('zzzzzzzz: unknown key, known keys are address, token'),
      'register.wanAdress: unknown key, did you mean wanAddress?',
      'register.exposeServers: expected true or false, found "yes"',
      'register.bindAddresses: expected texts by name, found 5',
    ]);
  });

  it.each([undefined, null, {}])('may be %j', (config) => {
    expect(parseSettings(config)).toEqual({});
  });

  it('name files relative to the configuration', () => {
    const folder = mkdtempSync(join(tmpdir(), 'meshgate-options-'));
    writeFileSync(join(folder, 'ca.pem'), 'CA');
    const options = optionsOf({ caFile: 'ca.pem', caPath: '.', tokenFile: 'token', address: 'https://a:8501' }, folder);
    expect(options).toEqual({ address: 'https://a:8501', ca: ['CA', 'CA'], tokenFile: join(folder, 'token') });
  });

  it('that name files which cannot be read are wrong', () => {
    expect(problemsOf(() => optionsOf({ caFile: 'none.pem', caPath: 'none' }, '/nowhere'))).toEqual([
      expect.stringContaining('caFile: ENOENT'),
      expect.stringContaining('caPath: ENOENT'),
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
