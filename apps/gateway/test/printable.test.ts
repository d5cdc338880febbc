import { mkdtempSync, openSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openLog } from '../src/log/logger.ts';
import { printable } from '../src/log/printable.ts';

const HOSTILE = 'a\u001b[2Jb\nc\u009bd\u202ee\u007f';

async function logged(format: 'json' | 'pretty'): Promise<string> {
  const path = join(mkdtempSync(join(tmpdir(), 'meshgate-log-')), 'log');
  const log = await openLog(
    { level: 'info', access: { connected: false }, format },
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

  it('is the same text again when a program reads a line of JSON, which has no control character itself', async () => {
    const text = await logged('json');
    const [line = '', access = ''] = text.split('\n');
    expect(JSON.parse(line)).toMatchObject({ msg: HOSTILE, serverName: HOSTILE });
    expect(JSON.parse(access)).toEqual({ alpn: [HOSTILE] });
    expect(text).not.toMatch(/[^\n\u0020-\u007e]/);
  });

  it('stays on its line in a log for people, and cannot write to the terminal', async () => {
    const text = await logged('pretty');
    expect(text.trimEnd().split('\n')).toHaveLength(1);
    expect(text).not.toMatch(/[^\n\u0020-\u007e]/);
    expect(text).toContain('a\\u001b[2Jb');
  });
});
