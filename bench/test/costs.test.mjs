import { describe, expect, it } from 'vitest';
import { costsOf, ratioOf } from '../costs.mjs';

/** A hundred units of work at this cost each. */
function round(each, userShare = 0.5) {
  const total = each * 100;
  return { units: 100, total, user: total * userShare, system: total * (1 - userShare) };
}

describe('costs', () => {
  it('are reported as a median, which rare events do not affect, and a mean, which includes them', () => {
    const { proxy } = costsOf([{ proxy: [round(2), round(2), round(8)] }]);
    expect([proxy.median, proxy.mean]).toEqual([2, 4]);
  });

  it('distinguish user and system time in the proportion of their ticks, within the exact total', () => {
    const ticks = { units: 10, total: 5, user: 3, system: 1 };
    expect(costsOf([{ proxy: [ticks] }]).proxy).toMatchObject({ mean: 0.5, user: 0.375, system: 0.125 });
  });

  it('weight every round of every life by its work', () => {
    const little = { units: 1, total: 10, user: 5, system: 5 };
    expect(costsOf([{ proxy: [round(1)] }, { proxy: [little] }]).proxy.mean).toBeCloseTo(110 / 101);
  });
});

describe('ratios of costs', () => {
  const lives = [
    { old: [round(10), round(20)], new: [round(9), round(18)] },
    { old: [round(10)], new: [round(11)] },
    { old: [round(10)], new: [round(8)] },
  ];

  it('compare round with round, and report how far the lives agree', () => {
    const { median, error, min, max } = ratioOf(lives, 'new', 'old');
    expect([median, min, max]).toEqual([0.9, 0.8, 1.1]);
    expect(error).toBeCloseTo((1.4826 * 0.1) / Math.sqrt(3));
  });

  it('of one life claim no precision', () => {
    expect(ratioOf(lives.slice(0, 1), 'new', 'old')).toEqual({ median: 0.9, min: 0.9, max: 0.9 });
  });
});
