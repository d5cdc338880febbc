import { describe, expect, it } from 'vitest';
import { formatDuration } from '../src/duration.ts';

describe('a duration for people', () => {
  it.each([
    [0, '0 ms'],
    [0.1234567, '0.123 ms'],
    [40, '40 ms'],
    [999.4, '999 ms'],
    [999.9, '1 s'],
    [2_499.973248, '2.5 s'],
    [10_000, '10 s'],
    [59_990, '1 min'],
    [90_000, '1.5 min'],
    [300_000, '5 min'],
    [3_600_000, '1 h'],
    [172_800_000, '48 h'],
  ])('has a unit and a readable number of digits: %d ms is %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });
});
