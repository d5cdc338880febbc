import { describe, expect, it } from 'vitest';
import { columns } from '../src/cli/columns.ts';

const NAMES = 'api.example.com *.apps.example.com';
const LONG = 'service.default.dc1.internal.11111111-2222-3333-4444-555555555555.consul';

describe('columns', () => {
  it('are as wide as their widest cells without a limit', () => {
    expect(
      columns([
        ['ROUTE', 'NAMES', 'END'],
        ['api', NAMES, 'x'],
      ]),
    ).toEqual(['ROUTE  NAMES                               END', `api    ${NAMES}  x`]);
  });

  it('fit a narrower terminal: the widest columns wrap, at spaces', () => {
    expect(
      columns(
        [
          ['ROUTE', 'NAMES', 'END'],
          ['api', NAMES, 'x'],
        ],
        { width: 30, indent: '  ' },
      ),
    ).toEqual([
      '  ROUTE  NAMES             END',
      '  api    api.example.com   x',
      '         *.apps.example.c',
      '         om',
    ]);
  });

  it('wrap words that are too long, and lose nothing', () => {
    const lines = columns([['NAME'], [LONG]], { width: 40 });
    expect(lines.slice(1).join('')).toBe(LONG);
    expect(Math.max(...lines.map(({ length }) => length))).toBe(40);
  });

  it('are never too narrow to read', () => {
    expect(
      columns(
        [
          ['NAME', 'NAME'],
          [LONG, LONG],
        ],
        { width: 1 },
      )[1],
    ).toBe(`${LONG.slice(0, 12)}  ${LONG.slice(0, 12)}`);
  });
});
