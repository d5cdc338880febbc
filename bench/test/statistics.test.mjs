import { describe, expect, it } from 'vitest';
import { best, median, orderOfRound, ratio, summary } from '../statistics.mjs';

describe('median', () => {
  it.each([
    [[3], 3],
    [[3, 1, 2], 2],
    [[4, 1, 3, 2], 2.5],
    [[10, 9, 100], 10],
  ])('of %j is %d', (values, expected) => {
    expect(median(values)).toBe(expected);
  });

  it('of nothing is an error with a reason', () => {
    expect(() => median([])).toThrow('expected at least one value, found none');
  });
});

describe('summary', () => {
  it('leaves out rounds that failed', () => {
    expect(summary([5, undefined, 1])).toEqual({ median: 3, min: 1, max: 5 });
  });

  it('of failed rounds only is absent', () => {
    expect(summary([undefined])).toBeUndefined();
  });
});

describe('ratio', () => {
  it('compares round with round, so that a slowing machine has no effect', () => {
    expect(ratio([100, 50, 10], [50, 25, 5])).toEqual({ median: 2, min: 2, max: 2 });
  });

  it('ignores rounds in which one of the two failed', () => {
    expect(ratio([2, undefined, 9], [1, 1, undefined])?.median).toBe(2);
  });

  it('is absent when no round has both', () => {
    expect(ratio([1, undefined], [undefined, 1])).toBeUndefined();
  });

  it('does not divide by zero', () => {
    expect(ratio([1], [0])).toBeUndefined();
  });
});

describe('orderOfRound', () => {
  it('is reversed in every second round', () => {
    const orders = [0, 1, 2].map((round) => orderOfRound(['a', 'b', 'c'], round).join(''));
    expect(orders).toEqual(['abc', 'cba', 'abc']);
  });
});

describe('best', () => {
  const samples = new Map([
    ['fast', [9, 11]],
    ['slow', [1, 2]],
    ['broken', [undefined]],
  ]);

  it('is the highest median where more is better', () => {
    expect(best(samples, 'more')).toBe('fast');
  });

  it('is the lowest where less is', () => {
    expect(best(samples, 'less')).toBe('slow');
  });

  it('is absent when nobody has a value', () => {
    expect(best(new Map([['broken', [undefined]]]), 'more')).toBeUndefined();
  });
});
