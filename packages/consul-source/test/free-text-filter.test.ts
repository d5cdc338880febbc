import { describe, expect, it } from 'vitest';
import { FreeTextFilter } from '../src/free-text-filter.ts';
import { elementsOf } from '../src/json.ts';

function filtered(json: string, cuts: readonly number[] = []): string {
  const bytes = Buffer.from(json);
  const filter = new FreeTextFilter(['Output', 'Notes']);
  const bounds = [0, ...cuts.toSorted((one, other) => one - other), bytes.length];
  const kept = bounds.slice(1).flatMap((end, at) => filter.filter(bytes.subarray(bounds[at], end)));
  return Buffer.concat(kept).toString();
}

const HARD = [
  '',
  'plain',
  '"',
  '\\',
  '\\"',
  'a\\\\"b',
  '"Output": "x"',
  ':',
  '{[,',
  'Output',
  '€ 𝄞',
  '\n\t',
  'x'.repeat(50),
];

describe('free text in JSON', () => {
  it.each(HARD)('is removed, whatever it is: %j', (output) => {
    const value = { Status: output, Output: output, Notes: output, List: [output, { Output: output }], Last: 1 };
    const expected = { ...value, Output: '', Notes: '', List: [output, { Output: '' }] };
    for (const indent of [undefined, 2]) {
      const json = JSON.stringify(value, undefined, indent);
      expect(JSON.parse(filtered(json))).toEqual(expected);
      for (let cut = 0; cut <= Buffer.byteLength(json); cut += 1)
        expect(JSON.parse(filtered(json, [cut]))).toEqual(expected);
      expect(
        filtered(
          json,
          Array.from({ length: Buffer.byteLength(json) }, (_, at) => at),
        ),
      ).toBe(filtered(json));
    }
  });

  it('is kept in another field, or when it is not text', () => {
    const value = { Output: null, Notes: [1, 'two'], Outputs: 'a', putput: 'b', 'Output ': 'c', list: ['Output', 'd'] };
    expect(JSON.parse(filtered(JSON.stringify(value)))).toEqual(value);
  });

  it.each(['', '"', '{"Output":', '{"Output":"never ends', '<html>"Output":"x"'])(
    'that is not JSON is passed through: %j',
    (json) => {
      expect(() => JSON.parse(filtered(json)) as unknown).toThrow();
    },
  );
});

describe('the elements of a list', () => {
  it.each([[[]], [[{ a: 1 }]], [[{ a: '}]"\\' }, { b: [{}, []] }, [1]]], [HARD.map((text) => ({ text }))]])(
    'are those that parsing the complete list gives: %j',
    (list) => {
      for (const indent of [undefined, 2])
        expect(
          [...elementsOf(JSON.stringify(list, undefined, indent))].map((one) => JSON.parse(one) as unknown),
        ).toEqual(list);
    },
  );

  it('of a truncated list are an error', () => {
    expect(() => [...elementsOf('[{"a":1},{"b"')]).toThrow('found the end of the response');
  });
});
