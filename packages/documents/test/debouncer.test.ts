import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { Debouncer } from '../src/debouncer.ts';

describe('a debouncer', () => {
  it('fires once, a quiet period after the last of several events', async () => {
    const { debouncer, due } = running();
    debouncer.note();
    await vi.advanceTimersByTimeAsync(49);
    debouncer.note();
    await vi.advanceTimersByTimeAsync(49);
    expect(due()).toBe(0);
    await vi.advanceTimersByTimeAsync(500);
    expect(due()).toBe(1);
  });

  it('fires during events that never stop', async () => {
    const { debouncer, due } = running();
    for (let passedMs = 0; passedMs < 2_100; passedMs += 10) {
      debouncer.note();
      await vi.advanceTimersByTimeAsync(10);
    }
    expect(due()).toBe(2);
  });

  it('fires at each poll when nothing happens', async () => {
    const { due } = running();
    await vi.advanceTimersByTimeAsync(30_000);
    expect(due()).toBe(3);
  });

  it('never fires without events when polling is off', async () => {
    const { due } = running({ pollMs: 0 });
    await vi.advanceTimersByTimeAsync(1_000_000);
    expect([due(), vi.getTimerCount()]).toEqual([0, 0]);
  });

  it('fires at once when flushed', async () => {
    const { debouncer, due } = running();
    debouncer.flush();
    await vi.advanceTimersByTimeAsync(0);
    expect(due()).toBe(1);
  });

  it('does not fire in the middle of a burst, even when flushed', async () => {
    const { debouncer, due } = running();
    debouncer.note();
    debouncer.flush();
    await vi.advanceTimersByTimeAsync(49);
    expect(due()).toBe(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(due()).toBe(1);
  });

  it('leaves no timer behind', async () => {
    const { debouncer, stop } = running();
    debouncer.note();
    stop();
    await vi.advanceTimersByTimeAsync(0);
    expect(vi.getTimerCount()).toBe(0);
  });
});

/** A debouncer that is always awaited, and how often it fired. */
function running({ pollMs = 10_000 } = {}) {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const debouncer = new Debouncer({ quietMs: 50, burstMs: 1_000, pollMs });
  let count = 0;
  const stopped = new AbortController();
  const { signal } = stopped;
  const stop = (): void => stopped.abort();
  void (async () => {
    for (await debouncer.next(signal); !signal.aborted; await debouncer.next(signal)) count += 1;
  })();
  return { debouncer, stop, due: () => count };
}
