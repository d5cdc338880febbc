import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { Rounds } from '../src/rounds.ts';

describe('rounds', () => {
  it('are due a quiet time after the last of several events, and only once', async () => {
    const { rounds, due } = running();
    rounds.note();
    await vi.advanceTimersByTimeAsync(49);
    rounds.note();
    await vi.advanceTimersByTimeAsync(49);
    expect(due()).toBe(0);
    await vi.advanceTimersByTimeAsync(500);
    expect(due()).toBe(1);
  });

  it('are due in the middle of events that never stop', async () => {
    const { rounds, due } = running();
    for (let passedMs = 0; passedMs < 2_100; passedMs += 10) {
      rounds.note();
      await vi.advanceTimersByTimeAsync(10);
    }
    expect(due()).toBe(2);
  });

  it('are due at each poll when nothing happens', async () => {
    const { due } = running();
    await vi.advanceTimersByTimeAsync(30_000);
    expect(due()).toBe(3);
  });

  it('are never due without events when there is no poll', async () => {
    const { due } = running({ pollMs: 0 });
    await vi.advanceTimersByTimeAsync(1_000_000);
    expect([due(), vi.getTimerCount()]).toEqual([0, 0]);
  });

  it('are due at once when hurried', async () => {
    const { rounds, due } = running();
    rounds.hurry();
    await vi.advanceTimersByTimeAsync(0);
    expect(due()).toBe(1);
  });

  it('are not due in the middle of a burst, however much they are hurried', async () => {
    const { rounds, due } = running();
    rounds.note();
    rounds.hurry();
    await vi.advanceTimersByTimeAsync(49);
    expect(due()).toBe(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(due()).toBe(1);
  });

  it('leave no timer behind', async () => {
    const { rounds, stop } = running();
    rounds.note();
    stop();
    await vi.advanceTimersByTimeAsync(0);
    expect(vi.getTimerCount()).toBe(0);
  });
});

/** Rounds that somebody always waits for, and how many were due. */
function running({ pollMs = 10_000 } = {}) {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const rounds = new Rounds({ quietMs: 50, burstMs: 1_000, pollMs });
  let count = 0;
  const stopped = new AbortController();
  const stop = (): void => {
    stopped.abort();
    rounds.close();
  };
  void (async () => {
    for (await rounds.next(); !stopped.signal.aborted; await rounds.next()) count += 1;
  })();
  return { rounds, stop, due: () => count };
}
