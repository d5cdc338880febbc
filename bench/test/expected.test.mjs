import { describe, expect, it } from 'vitest';
import { contestants, forGoals } from '../contestants.mjs';
import { expectedSeconds } from '../expected.mjs';
import { parseOptions } from '../options.mjs';

const everybody = contestants({ transports: ['node', 'epoll', 'uring'], workers: [1, 2] });

describe('a complete run', () => {
  it('finishes within 25 minutes', () => {
    expect(expectedSeconds(everybody, parseOptions([]))).toBeLessThan(25 * 60);
  });

  it('finishes within ten when only the goals are requested', () => {
    expect(expectedSeconds(forGoals(everybody), parseOptions(['--goals']))).toBeLessThan(10 * 60);
  });
});

describe('the expected time', () => {
  it('counts a contestant only for the loads that it supports', () => {
    const options = parseOptions(['--only', 'rate,down-8', '--rounds', '1', '--seconds', '10']);
    const rate = expectedSeconds([{ family: 'peer', loads: ['rate'] }], options);
    const both = expectedSeconds([{ family: 'peer' }], options);
    expect(both - rate).toBeCloseTo(10.2);
  });
});
