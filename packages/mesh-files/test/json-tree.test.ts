import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openDocument } from '@meshgate/documents';

describe('JSON', () => {
  it('is parsed as by JSON.parse, with any white space', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(undefined, 1, '\t'), (value, space) => {
        const text = ` ${JSON.stringify(value, undefined, space)}\n`;
        const opened = openDocument(text, 'a.json');
        expect(opened.problems).toEqual([]);
        expect(opened.kind === 'document' && opened.root.plain()).toEqual(JSON.parse(text));
      }),
    );
  });

  it('with any character replaced or cut off is parsed as by JSON.parse, or rejected', () => {
    const good = '{"a": [1, -2.5e3, "x\\u00e9\\"\\\\", true, null], "b": {"c": {}, "d": []}}';
    fc.assert(
      fc.property(
        fc.nat(good.length),
        fc.nat(2),
        fc.constantFrom('', '"', ',', ':', '{', ']', '0', '\\', 'é', '\u0007'),
        (at, cut, put) => {
          const text = good.slice(0, at) + put + good.slice(at + cut);
          const opened = openDocument(text, 'a.json');
          const found = opened.problems.length === 0 && opened.kind === 'document' ? opened.root.plain() : 'refused';
          const twice = opened.problems.some(({ message }) => message.includes('already set'));
          expect(twice ? 'refused' : found).toEqual(twice ? 'refused' : parsed(text));
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it.each([
    ['{"a": 1, "a": 2}', 10],
    ['{"a": 1,}', 9],
    ['// no\n{}', 1],
    ['{"a": 01}', 8],
    ['["\t"]', 2],
    ['', 1],
  ])('has the position of the problem in %j', (text, column) => {
    expect(openDocument(text, 'a.json').problems[0]?.at).toMatchObject({ line: 1, column });
  });
});

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return 'refused';
  }
}
