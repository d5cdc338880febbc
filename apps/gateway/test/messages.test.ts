import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { counted, lineOf, MESSAGES } from '../src/log/messages.ts';

const SRC = fileURLToPath(new URL('../src', import.meta.url));
const sources = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => ({ file, text: readFileSync(join(SRC, file), 'utf8') }));

describe('messages of the log', () => {
  it('are those of docs/operate/logs.md, with meaning and action', () => {
    const page = readFileSync(new URL('../../../docs/operate/logs.md', import.meta.url), 'utf8');
    const rows = page
      .slice(page.indexOf('## Every message'))
      .split('\n')
      .filter((line) => line.startsWith('| `'))
      .map((line) =>
        line
          .slice(1, -1)
          .split(' | ')
          .map((cell) => cell.trim()),
      );
    expect(rows).toEqual(
      Object.values(MESSAGES).map(({ level, text, meaning, action }) => [
        `\`${level}\``,
        `\`${text}\``,
        meaning,
        action,
      ]),
    );
  });

  it('are all that is written at level info and above, except for the access log', () => {
    const callers = sources.filter(({ text }) => /\blogger\)?\.(?:info|warn|error|fatal)\(/i.test(text));
    expect(callers.map(({ file }) => file)).toEqual([]);
    const dynamic = sources.filter(({ text }) => /logger\[/.test(text)).map(({ file }) => file);
    // Output of plugins is not ours.
    expect(dynamic.toSorted()).toEqual([
      'config/plugin-services.ts',
      'log/access-log.ts',
      'log/log-observer.ts',
      'log/messages.ts',
    ]);
  });

  it('are each used', () => {
    const used = sources
      .filter(({ file }) => file !== 'log/messages.ts')
      .map(({ text }) => text)
      .join('\n');
    expect(Object.keys(MESSAGES).filter((name) => !used.includes(`'${name}'`))).toEqual([]);
  });

  it('are fragments in lower case without a full stop', () => {
    for (const { text } of Object.values(MESSAGES)) expect(text).toMatch(/^[a-z{][^A-Z]*[^.]$/);
  });

  it('have their values in place of the braces', () => {
    const { level, message, facts } = lineOf(
      'cannotListen',
      { address: '[::1]:443', reason: 'in {use}' },
      { listener: 'a' },
    );
    expect({ level, message, facts }).toEqual({
      level: 'warn',
      message: 'cannot listen on [::1]:443: in {use}',
      facts: { listener: 'a' },
    });
  });

  it('count one route, and two routes', () => {
    expect([0, 1, 2].map((count) => counted(count, 'route'))).toEqual(['0 routes', '1 route', '2 routes']);
  });
});
