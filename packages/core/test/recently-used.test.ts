import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { RecentlyUsed } from '../src/watch/recently-used.ts';

const HOUR_MS = 3_600_000;

function values(max?: number) {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const forgotten: string[] = [];
  const used = new RecentlyUsed<string>({
    onForgotten: (value) => void forgotten.push(value),
    ...(max !== undefined && { max }),
  });
  return { used, forgotten };
}

describe('cached values', () => {
  it('are dropped after an hour without use, when another one is added', () => {
    const { used, forgotten } = values();
    for (const key of ['a', 'b']) used.add(key, key.toUpperCase());
    vi.advanceTimersByTime(HOUR_MS - 1);
    expect(used.use('a')).toBe('A');
    vi.advanceTimersByTime(2);
    used.add('c', 'C');
    expect([forgotten, used.values]).toEqual([['B'], ['A', 'C']]);
  });

  it('make room for others, the oldest first, if their number is bounded', () => {
    const { used, forgotten } = values(2);
    for (const key of ['a', 'b', 'c']) used.add(key, key.toUpperCase());
    expect([forgotten, used.size, used.use('a')]).toEqual([['A'], 2, undefined]);
  });
});
