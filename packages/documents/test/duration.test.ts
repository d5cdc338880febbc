import { describe, expect, it } from 'vitest';
import { parseDuration } from '../src/index.ts';

describe('parseDuration', () => {
  it.each([
    ['500ms', 500],
    ['2s', 2_000],
    ['1m', 60_000],
    ['1h', 3_600_000],
    ['0s', 0],
    ['999999999h', 3_599_999_996_400_000],
  ])('parses %s', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(['', '2', 's', '2 s', '-1s', '1.5s', '1m30s', '2S', '2d', '1000000000s', '2s\n', '__proto__'])(
    'rejects %j',
    (text) => {
      expect(parseDuration(text)).toBeUndefined();
    },
  );
});
