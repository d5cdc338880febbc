import { formatProblem } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { openDocument } from '../src/index.ts';

describe('YAML aliases', () => {
  it('are followed, however many there are', () => {
    const count = 20_000;
    const text = `first: &it [ { port: 9441 } ]\nall:\n${'  - *it\n'.repeat(count)}`;
    const all = read(text) as { readonly all: readonly unknown[] };
    expect([all.all.length, all.all[count - 1]]).toEqual([count, [{ port: 9441 }]]);
  });

  it('refer to the last earlier anchor of their name', () => {
    expect(read('a: &x 1\nb: *x\nc: &x 2\nd: *x')).toEqual({ a: 1, b: 1, c: 2, d: 2 });
  });

  it('that multiply are rejected before they are resolved', () => {
    const lines = Array.from(
      { length: 9 },
      (_none, level) => `l${level + 1}: &l${level + 1} [ ${`*l${level}, `.repeat(9)} ]`,
    );
    expect(problems(['l0: &l0 [ lol ]', ...lines].join('\n'))).toEqual([
      expect.stringMatching(/^a\.yaml:7:\d+: expected YAML aliases that add at most 1000000 values, found more$/),
    ]);
  });

  it('within their own anchor are rejected', () => {
    expect(problems('a: &a { b: [ *a ] }')).toEqual([
      'a.yaml:1:14: expected a value, found the YAML alias *a inside its own anchor',
    ]);
  });
});

describe('YAML merge keys', () => {
  const base = 'base: &base { port: 1, weight: 2 }\nmore: &more { port: 3, name: m }\n';

  it.each([
    ['bring what is not set', 'it: { <<: *base, port: 9 }', { port: 9, weight: 2 }],
    ['wherever they stand', 'it: { port: 9, <<: *base }', { port: 9, weight: 2 }],
    [
      'of several mappings the first goes before the others',
      'it: { <<: [ *base, *more ] }',
      { port: 1, weight: 2, name: 'm' },
    ],
    [
      'also of mappings that merge themselves',
      'mid: &mid { <<: *base, port: 5 }\nit: { <<: *mid }',
      { port: 5, weight: 2 },
    ],
    ['unless they are in quotes', 'it: { "<<": 1 }', { '<<': 1 }],
  ])('%s', (_claim, text, expected) => {
    expect((read(base + text) as { readonly it: unknown }).it).toEqual(expected);
  });

  it('of anything else are a problem with its position', () => {
    expect(problems('it: { <<: 5 }')).toEqual(['a.yaml:1:11: expected a mapping, found the number 5']);
  });
});

function read(text: string): unknown {
  const opened = openDocument(text, 'a.yaml');
  if (opened.kind === 'broken') throw new Error(opened.problems.map(formatProblem).join('\n'));
  return opened.root.plain();
}

function problems(text: string): readonly string[] {
  const opened = openDocument(text, 'a.yaml');
  if (opened.kind === 'document') opened.root.plain();
  return opened.problems.map(formatProblem);
}
