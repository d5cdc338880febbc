import { readdirSync, readFileSync } from 'node:fs';
import { ConfigProblems } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { draftConfig, parseConfig } from '../src/config/config.ts';
import { configSchema } from '../src/config/config-schema.ts';

const FOLDER = new URL('config/', import.meta.url);

/**
 * A golden file: the configuration, ten dashes and a file name, and the result: the parsed configuration as JSON, or
 * its problems.
 */
function golden(file: string): { readonly text: string; readonly name: string; readonly outcome: string } {
  const [text = '', name = '', outcome = ''] = readFileSync(new URL(file, FOLDER), 'utf8').split(/^-{10} (.*)\n/m);
  return { text, name, outcome };
}

function outcomeOf(text: string, name: string): unknown {
  try {
    return parseConfig(text, name);
  } catch (reason) {
    if (reason instanceof ConfigProblems) return reason.message;
    throw reason;
  }
}

describe('a configuration file', () => {
  it.each(readdirSync(FOLDER))('is parsed to the value of %s', (file) => {
    const { text, name, outcome } = golden(file);
    expect(outcomeOf(text, name)).toEqual(outcome.startsWith('{') ? JSON.parse(outcome) : outcome.trimEnd());
  });

  it('can disable idle timeouts', () => {
    const text = `
      limits: { idleTimeout: off, halfCloseTimeout: off }
      keepAlive: { userTimeout: off }`;
    expect(parseConfig(text, 'meshgate.yaml')).toMatchObject({
      limits: { idleTimeoutMs: Infinity, halfCloseTimeoutMs: Infinity },
      keepAlive: { userTimeoutMs: 0 },
    });
  });

  it.each(['0s', '0', 'never', 'false', '9999h'])('rejects %s in place of off, with the valid forms', (written) => {
    expect(outcomeOf(`listeners: []\nlimits: { idleTimeout: ${written} }`, 'meshgate.yaml')).toContain(
      'meshgate.yaml:2:11: expected a duration such as 500ms, 2s, 1m or 1h, from 1ms to 2147483647ms, or off, found ',
    );
  });

  it('may use keys that every JavaScript object has: as keys of a plugin, and nothing else', () => {
    const entry = '{ "use": "file", "path": "r", "constructor": 1, "__proto__": { "mesh": "polluted" } }';
    const text = `{ "sources": [ ${entry} ], "prefer": { "constructor": "a" } }`;
    const { config, uses } = draftConfig(text, 'meshgate.json');
    expect(Object.keys(uses[0]?.settings ?? {})).toEqual(['path', 'constructor', '__proto__']);
    expect(Object.entries(config?.prefer ?? {})).toEqual([['constructor', 'a']]);
    for (const value of [{}, uses[0]?.settings ?? {}, config?.sources[0]?.settings ?? {}])
      expect(Reflect.get(value, 'mesh')).toBeUndefined();
    expect(String(outcomeOf('{ "__proto__": {}, "constructor": {} }', 'meshgate.json')).split('\n')).toEqual([
      expect.stringMatching(/^meshgate\.json:1:3: unknown key "__proto__": /),
      expect.stringMatching(/^meshgate\.json:1:20: unknown key "constructor": /),
    ]);
  });

  it('is described by the published JSON Schema', () => {
    const published = readFileSync(new URL('../schema/meshgate.schema.json', import.meta.url), 'utf8');
    expect(JSON.parse(published)).toEqual(z.toJSONSchema(configSchema, { io: 'input' }));
  });
});
