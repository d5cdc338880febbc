import { describe, expect, it } from 'vitest';
import { TICK_MS, TimerWheel } from '../src/timer-wheel.ts';

const SECOND = 1_000;
const HOUR = 3_600 * SECOND;

/** Advances `wheel` as its owner does, from one requested time to the next, and records when each key expired. */
function run(wheel: TimerWheel, fromMs: number, untilMs: number): Map<number, number> {
  const due = new Map<number, number>();
  let nowMs = fromMs;
  for (let quietMs = wheel.quietMs(nowMs); quietMs !== undefined; quietMs = wheel.quietMs(nowMs)) {
    nowMs += Math.max(quietMs, 0.5);
    if (nowMs > untilMs) break;
    wheel.advance(nowMs, (key) => due.set(key, nowMs));
  }
  return due;
}

describe('the timer wheel', () => {
  it.each([
    ['a moment', 1],
    ['one tick', TICK_MS],
    ['a turn of the first wheel', 64 * TICK_MS],
    ['just beyond a turn of the first wheel', 64 * TICK_MS + 1],
    ['a second', SECOND],
    ['half a minute, at the border of the second wheel', 64 * 64 * TICK_MS],
    ['five minutes', 300 * SECOND],
    ['an hour', HOUR],
    ['two days, which is beyond the last wheel', 48 * HOUR],
  ])('fires after %s: never early, at most two ticks late', (_name, afterMs) => {
    for (const startMs of [0, 7.9, 511, 512, 4_095 * TICK_MS, 123_456.7]) {
      const wheel = new TimerWheel(startMs);
      wheel.set(3, startMs + afterMs, startMs);
      const due = run(wheel, startMs, startMs + afterMs + SECOND);
      expect(due.get(3)).toBeGreaterThanOrEqual(startMs + afterMs);
      expect(due.get(3)).toBeLessThanOrEqual(startMs + afterMs + 2 * TICK_MS);
      expect(wheel.size).toBe(0);
    }
  });

  it('keeps all of ten thousand random deadlines, some moved and some cleared', () => {
    const random = generator(1);
    const wheel = new TimerWheel(1_000);
    const expected = new Map<number, number>();
    for (let key = 0; key < 10_000; key += 1) {
      const atMs = 1_000 + random() * 2 ** (random() * 22);
      wheel.set(key, 1_000 + random() * HOUR, 1_000);
      wheel.set(key, atMs, 1_000);
      expected.set(key, atMs);
      if (key % 7 !== 0) continue;
      wheel.clear(key);
      expected.delete(key);
    }
    const due = run(wheel, 1_000, 2 * HOUR);
    expect(due.size).toBe(expected.size);
    for (const [key, atMs] of expected) {
      const delayMs = (due.get(key) ?? Infinity) - atMs;
      expect(delayMs).toBeGreaterThanOrEqual(0);
      expect(delayMs).toBeLessThanOrEqual(2 * TICK_MS);
    }
  });

  it('accepts a deadline that is set while others expire', () => {
    const wheel = new TimerWheel(0);
    const due: number[] = [];
    wheel.set(1, 100, 0);
    wheel.advance(200, () => wheel.set(2, 200 + 63 * TICK_MS, 200));
    wheel.advance(200 + 62 * TICK_MS, (key) => due.push(key));
    expect(due).toEqual([]);
    wheel.advance(200 + 65 * TICK_MS, (key) => due.push(key));
    expect(due).toEqual([2]);
  });

  it('keeps a deadline that is set while the only other one expires late, exactly one turn of the first wheel ahead', () => {
    for (const delayTicks of [1, 2, 63, 64, 65, 1_000]) {
      const wheel = new TimerWheel(0);
      const due: number[] = [];
      wheel.set(1, TICK_MS, 0);
      const delayMs = (1 + delayTicks) * TICK_MS;
      const nextMs = (1 + 64) * TICK_MS + (delayTicks >= 64 ? delayMs : 0);
      wheel.advance(delayMs, (key) => {
        due.push(key);
        if (due.length > 10) throw new Error('expected one deadline to be due, found it due again and again');
        wheel.set(1, nextMs, delayMs);
      });
      expect(due).toEqual([1]);
      wheel.advance(nextMs - 1, (key) => due.push(key));
      expect(due).toEqual([1]);
      wheel.advance(nextMs + TICK_MS, (key) => due.push(key));
      expect(due).toEqual([1, 1]);
    }
  });

  it('returns nothing when nothing is set', () => {
    const wheel = new TimerWheel(0);
    wheel.set(5, 100, 0);
    wheel.clear(5);
    wheel.clear(5);
    expect(wheel.quietMs(0)).toBeUndefined();
  });
});

/** Mulberry32: small, and the same numbers in every run. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
