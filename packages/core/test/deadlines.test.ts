import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Deadline, Deadlines } from '../src/pipeline/deadlines.ts';

const AFTER_MS = 100;

function deadlines() {
  const expired: string[] = [];
  const all = new Deadlines<string>(AFTER_MS, (one) => expired.push(one));
  const begin = (one: string): Deadline<string> => {
    const deadline = new Deadline(one);
    deadline.begin(all, performance.now());
    return deadline;
  };
  return { all, expired, begin };
}

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
afterEach(() => void vi.useRealTimers());

describe('deadlines', () => {
  it('expire after their time, each after its own', () => {
    const { begin, expired } = deadlines();
    begin('a');
    vi.advanceTimersByTime(60);
    begin('b');
    vi.advanceTimersByTime(39);
    expect(expired).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(expired).toEqual(['a']);
    vi.advanceTimersByTime(59);
    expect(expired).toEqual(['a']);
    vi.advanceTimersByTime(1);
    expect(expired).toEqual(['a', 'b']);
  });

  it('do not depend on the wall clock', () => {
    vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout', 'performance'] });
    const { begin, expired } = deadlines();
    begin('a');
    vi.setSystemTime(new Date('2100-01-01'));
    vi.advanceTimersByTime(99);
    expect(expired).toEqual([]);
    vi.setSystemTime(new Date('1970-01-01'));
    vi.advanceTimersByTime(1);
    expect(expired).toEqual(['a']);
  });

  it('that have ended do not expire, and do not delay others', () => {
    const { begin, expired } = deadlines();
    const first = begin('a');
    begin('b');
    first.end();
    first.end();
    vi.advanceTimersByTime(AFTER_MS);
    expect(expired).toEqual(['b']);
  });

  it('share one timer, and leave none after the last', () => {
    const { begin } = deadlines();
    const begun = Array.from({ length: 1_000 }, (_, number) => begin(String(number)));
    expect(vi.getTimerCount()).toBe(1);
    for (const one of begun) one.end();
    vi.advanceTimersByTime(AFTER_MS);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('can begin again, also within the callback of their expiry', () => {
    const expired: number[] = [];
    const all: Deadlines<string> = new Deadlines(AFTER_MS, () => {
      expired.push(performance.now());
      if (expired.length < 3) deadline.begin(all, performance.now());
    });
    const deadline = new Deadline('a');
    const start = performance.now();
    deadline.begin(all, start);
    vi.advanceTimersByTime(3 * AFTER_MS);
    expect(expired.map((at) => at - start)).toEqual([AFTER_MS, 2 * AFTER_MS, 3 * AFTER_MS]);
  });

  it('are used for one wait after the other: a new one ends the previous one', () => {
    const { all, begin, expired } = deadlines();
    const deadline = begin('a');
    vi.advanceTimersByTime(60);
    deadline.begin(all, performance.now());
    vi.advanceTimersByTime(99);
    expect([expired, deadline.isRunning]).toEqual([[], true]);
    vi.advanceTimersByTime(1);
    expect([expired, deadline.isRunning]).toEqual([['a'], false]);
  });
});
