import { describe, expect, it } from 'vitest';
import { openDocument } from '../src/index.ts';

/** Milliseconds to parse a document and look up the position of every key. */
function timeOf(keys: number): number {
  const text = Array.from({ length: keys }, (_, index) => `k${index}: v\n`).join('');
  const before = performance.now();
  const opened = openDocument(text, 'x.yaml');
  if (opened.kind === 'broken') throw new Error('expected a document');
  for (let index = 0; index < keys; index += 1) opened.root.positionOf([`k${index}`]);
  return performance.now() - before;
}

describe('a mapping of many keys', () => {
  it('takes linear time', () => {
    timeOf(1_000);
    const few = Math.min(timeOf(2_000), timeOf(2_000));
    // Linear would be a factor of 8, quadratic a factor of 64.
    expect(timeOf(16_000) / few).toBeLessThan(32);
  });

  it('reports each repeated key at its position', () => {
    const opened = openDocument('a: 1\nb: 2\na: 3\nc: { d: 1, d: 2 }\n', 'x.yaml');
    expect(opened.problems.map(({ at }) => [at?.line, at?.column])).toEqual([
      [3, 1],
      [4, 12],
    ]);
  });
});
