import { describe, expect, it } from 'vitest';
import { openDocument } from '../src/index.ts';

const MANY = 5_000;

function problemsOf(text: string, file: string): readonly string[] {
  return openDocument(text, file).problems.map(({ message, at }) => `${at?.line}:${at?.column} ${message}`);
}

describe('a text that is nested too deeply is rejected before it is parsed, with its position', () => {
  it.each([
    ['brackets that never close', `{"service":${'['.repeat(MANY)}`, 'x.json', '1:211'],
    ['brackets that do', `${'['.repeat(MANY)}${']'.repeat(MANY)}`, 'x.json', '1:201'],
    ['maps of JSON', `${'{"a":'.repeat(MANY)}1${'}'.repeat(MANY)}`, 'x.json', '1:1001'],
    [
      'maps of YAML',
      Array.from({ length: MANY }, (_, level) => `${' '.repeat(level)}a:\n`).join(''),
      'x.yaml',
      '202:202',
    ],
    ['lists that begin on one line', `${'- '.repeat(MANY)}a`, 'x.yaml', '1:201'],
    ['brackets of YAML', `a: ${'{a: '.repeat(MANY)}1${'}'.repeat(MANY)}`, 'x.yaml', '1:804'],
  ])('%s', (_what, text, file, location) => {
    expect(problemsOf(text, file)).toEqual([`${location} expected at most 200 levels, found more`]);
  });
});

describe('a text within the limit is parsed', () => {
  it.each([
    ['a string of brackets', `a: "${'['.repeat(MANY)}"`],
    ['a plain scalar of dashes', `a: ${'-'.repeat(MANY)}x`],
    ['a block scalar that is indented far', `a: |\n${' '.repeat(300)}text\n`],
    ['a comment that is indented far', `${' '.repeat(300)}# text\na: 1\n`],
    ['many lists, one after the other', `a:\n${'  - [1, 2]\n'.repeat(1_000)}`],
  ])('%s', (_what, text) => {
    expect(problemsOf(text, 'x.yaml')).toEqual([]);
  });
});
