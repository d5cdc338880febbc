import { mkdtempSync, openSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openLog } from '../src/log/logger.ts';
import { printable } from '../src/log/printable.ts';
import { folder, meshgate, TEST_CONFIG } from './daemon.ts';

const HOSTILE = 'a\u001b[2Jb\nc\u009bd\u202ee\u007f';

async function logged(format: 'json' | 'pretty'): Promise<string> {
  const path = join(mkdtempSync(join(tmpdir(), 'meshgate-log-')), 'log');
  const log = await openLog(
    { level: 'info', access: { connected: false, repeated: false }, quiet: [], format },
    { fd: openSync(path, 'a'), isTerminal: false },
  );
  log.logger.info({ serverName: HOSTILE }, HOSTILE);
  log.writeJson?.({ alpn: [HOSTILE] });
  await log.flush(10_000);
  return readFileSync(path, 'utf8');
}

describe('text from outside', () => {
  it('is one line without control characters', () => {
    expect(printable(HOSTILE)).toBe('a\\u001b[2Jb\\u000ac\\u009bd\\u202ee\\u007f');
    expect(printable('größe 漢字 ✓')).toBe('größe 漢字 ✓');
  });

  it.each([
    ['a null', '\u0000'],
    ['a carriage return', '\r'],
    ['the start of a sequence', '\u009b31m'],
    ['an override of direction', '\u202e'],
    ['an isolate', '\u2067'],
    ['a mark of Arabic', '\u061c'],
    ['a space without a width', '\u200b'],
    ['a joiner', '\u200d'],
    ['a joiner of words', '\u2060'],
    ['a mark of byte order', '\ufeff'],
    ['a hyphen that is not shown', '\u00ad'],
    ['a separator of lines', '\u2028'],
    ['an annotation', '\ufff9'],
    ['a tag', '\u{e0041}'],
  ])('shows %s, and a program reads the original', (_what, character) => {
    const shown = printable(`a${character}b`);
    expect(shown).toMatch(/^a(?:\\u[0-9a-f]{4})+(?:31m)?b$/);
    expect(JSON.parse(`"${shown}"`)).toBe(`a${character}b`);
  });

  it('is unchanged when a program reads a line of JSON, which itself has no control character', async () => {
    const text = await logged('json');
    const [line = '', access = ''] = text.split('\n');
    expect(JSON.parse(line)).toMatchObject({ msg: HOSTILE, serverName: HOSTILE });
    expect(JSON.parse(access)).toEqual({ alpn: [HOSTILE] });
    expect(text).not.toMatch(/[^\n\u0020-\u007e]/);
  });

  it('stays on its line in a log for people, and cannot control the terminal', async () => {
    const text = await logged('pretty');
    expect(text.trimEnd().split('\n')).toHaveLength(1);
    expect(text).not.toMatch(/[^\n\u0020-\u007e]/);
    expect(text).toContain('a\\u001b[2Jb');
  });
});

/** A plugin whose source has a route of this name, for all server names. */
const HOSTILE_SOURCE = `
const name = ${JSON.stringify(HOSTILE)};
const route = { name, kind: name, serverNames: ['*'], backends: [] };
export default { name: 'catalog', install: (host) => host.addSource({ name, async *watch() { yield { version: '1', routes: [route] }; } }) };`;

describe('the output of a command', () => {
  it.each([
    ['routes', ['routes'], 0],
    ['routes --json', ['routes', '--json'], 0],
    ['explain', ['explain', 'a.example'], 0],
    ['explain --json', ['explain', 'a.example', '--json'], 0],
    ['explain, of a name that no client can send', ['explain', HOSTILE], 2],
    ['gateway --check', ['gateway', '--check'], 0],
  ])('has no control character from a catalog or a name: %s', async (_name, args, status) => {
    await using files = await folder({
      'catalog.mjs': HOSTILE_SOURCE,
      'meshgate.yaml': { ...TEST_CONFIG, sources: [{ use: './catalog.mjs' }] },
    });
    const ended = await meshgate([...args, '--config', `${files.path}/meshgate.yaml`]);
    expect(ended.status).toBe(status);
    const output = ended.stdout + ended.stderr;
    expect(output).toContain('\\u001b[2Jb');
    expect(output).not.toMatch(/[^\n\u0020-\u007e]/);
  });
});
